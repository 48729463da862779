#include "persistence/archive/member_reader.hpp"

#include <algorithm>
#include <utility>

#include "persistence/archive/entry_reader.hpp"
#include "persistence/archive/names.hpp"

namespace arca::archive {
namespace {
constexpr size_t zero_piece = 256u << 10;
}

struct member_reader::impl {
  explicit impl(byte_source s) : source(std::move(s)), reader(source) {}
  byte_source source;
  entry_reader reader;
  uint64_t at = 0, size = 0;
  std::string_view held;  // content read ahead of a hole
  uint64_t held_at = 0;
  bool ended = true;
  std::string zeros;
};

member_reader::member_reader(byte_source source) : self_(std::make_unique<impl>(std::move(source))) {}
member_reader::~member_reader() = default;

result<bool> member_reader::next(member_header& into) {
  ARCA_TRY(entry, self_->reader.next());
  if (entry == nullptr) {
    ARCA_CHECK(self_->reader.drain());
    return false;
  }
  const c_locale_scope locale;
  into = {};
  ARCA_TRY(parts, split_name(path_of(entry), 512));
  into.name = join(parts);
  into.mode = static_cast<uint32_t>(archive_entry_perm(entry));
  if (const char* target = archive_entry_hardlink(entry)) {
    into.type = member_header::kind::hard_link;
    into.link = target;
  } else if (archive_entry_filetype(entry) == AE_IFLNK) {
    into.type = member_header::kind::symlink;
    if (const char* link = archive_entry_symlink(entry)) into.link = link;
  } else if (archive_entry_filetype(entry) == AE_IFDIR) {
    into.type = member_header::kind::folder;
  } else if (archive_entry_filetype(entry) == AE_IFREG) {
    into.type = member_header::kind::file;
    into.size = static_cast<uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0));
  }
  self_->at = 0;
  self_->held = {};
  self_->size = into.size;
  self_->ended = into.type != member_header::kind::file;
  return true;
}

result<std::string_view> member_reader::read() {
  auto& s = *self_;
  if (s.ended) return std::string_view();
  if (s.held.empty()) {
    entry_reader::block block;
    do {
      ARCA_TRY(next, s.reader.read());
      block = next;
    } while (block.data.empty() && !block.end);
    s.held = block.data;
    s.held_at = block.end ? s.size : block.offset;
    if (block.end && s.at >= s.size) {
      s.ended = true;
      return std::string_view();
    }
    if (!block.end && (block.offset < s.at || block.offset + block.data.size() > s.size))
      return fail(bad_archive, "archive/tar: invalid tar header");
  }
  if (s.held_at > s.at) {
    if (s.zeros.empty()) s.zeros.assign(zero_piece, '\0');
    const uint64_t n = std::min<uint64_t>(s.held_at - s.at, zero_piece);
    s.at += n;
    return std::string_view(s.zeros.data(), n);
  }
  s.at += s.held.size();
  return std::exchange(s.held, {});
}

result<std::string> member_reader::read_all(size_t limit) {
  if (self_->size > limit) return fail(bad_archive, "archive: member is too large");
  std::string out;
  for (;;) {
    ARCA_TRY(piece, read());
    if (piece.empty()) return out;
    out += piece;
  }
}

}  // namespace arca::archive
