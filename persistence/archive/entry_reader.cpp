#include "persistence/archive/entry_reader.hpp"

#include <cerrno>

namespace arca::archive {
namespace {
locale_t c_locale() {
  static const locale_t c = ::newlocale(LC_ALL_MASK, "C", nullptr);
  return c;
}
}  // namespace

c_locale_scope::c_locale_scope() : before_(::uselocale(c_locale())) {}
c_locale_scope::~c_locale_scope() {
  ::uselocale(before_);
}

entry_reader::entry_reader(const byte_source& source) : source_(source), archive_(archive_read_new()) {
  archive_read_support_format_tar(archive_.get());
  archive_read_support_format_empty(archive_.get());
}

la_ssize_t entry_reader::on_read(::archive* a, void* self, const void** data) {
  auto& reader = *static_cast<entry_reader*>(self);
  if (reader.ended_) return 0;
  auto piece = reader.source_();
  if (!piece) {
    reader.source_error_ = piece.error();
    reader.ended_ = true;
    archive_set_error(a, EIO, "source");
    return -1;
  }
  if (piece->empty()) reader.ended_ = true;
  *data = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

tl::unexpected<error> entry_reader::failure(std::string_view what) {
  if (source_error_.code() != errc::none) return fail(source_error_);
  const char* text = archive_error_string(archive_.get());
  const std::string_view reason = text == nullptr ? std::string_view("unknown error") : text;
  if (reason.find("runcated") != std::string_view::npos) return fail(bad_archive, "unexpected EOF");
  if (reason.find("Unrecognized archive format") != std::string_view::npos ||
      reason.find("Damaged tar archive") != std::string_view::npos)
    return fail(bad_archive, "archive/tar: invalid tar header");
  return fail(bad_archive, "archive/tar: " + std::string(what) + ": " + std::string(reason));
}

result<archive_entry*> entry_reader::next() {
  const c_locale_scope locale;
  if (!opened_) {
    opened_ = true;
    if (archive_read_open(archive_.get(), this, nullptr, &on_read, nullptr) != ARCHIVE_OK) return failure("open");
  }
  archive_entry* entry = nullptr;
  const int code = archive_read_next_header(archive_.get(), &entry);
  if (source_error_.code() != errc::none) return fail(source_error_);
  if (code == ARCHIVE_EOF) return static_cast<archive_entry*>(nullptr);
  // A warning is a name that is not ASCII (see c_locale_scope) or a pax record that libarchive does not know.
  if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return failure("header");
  payload_ = static_cast<uint64_t>(archive_filter_bytes(archive_.get(), 0));
  return entry;
}

result<entry_reader::block> entry_reader::read() {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  const int code = archive_read_data_block(archive_.get(), &data, &size, &offset);
  if (code != ARCHIVE_OK && code != ARCHIVE_EOF) return failure("content");
  if (offset < 0) return fail(bad_archive, "archive/tar: invalid tar header");
  block out{{static_cast<const char*>(data), size}, static_cast<uint64_t>(offset), payload_, code == ARCHIVE_EOF};
  if (out.end) out.data = {};
  payload_ += out.data.size();
  return out;
}

result<void> entry_reader::drain() {
  while (!ended_) {
    ARCA_TRY(piece, source_());
    if (piece.empty()) ended_ = true;
  }
  return {};
}

std::string_view path_of(archive_entry* entry) {
  const c_locale_scope locale;
  const char* path = archive_entry_pathname(entry);
  return path == nullptr ? std::string_view() : path;
}

}  // namespace arca::archive
