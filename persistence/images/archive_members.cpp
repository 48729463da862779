#include "persistence/images/archive_members.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "persistence/archive/decompress.hpp"
#include "persistence/archive/names.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/decoder.hpp"

namespace arca::images {
namespace {

constexpr size_t max_members = 20'000;
constexpr std::string_view blobs = "blobs/sha256/";

/// A tar header's checksum holds, or it is the end mark of an empty archive.
bool looks_like_tar(std::string_view head) {
  if (head.size() < 512) return false;
  if (head.substr(0, 512).find_first_not_of('\0') == std::string_view::npos) return true;
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(head[i]);
  const std::string field(head.substr(148, 8));
  return std::strtoul(field.c_str(), nullptr, 8) == sum;
}

bool is_layer(std::string_view head) {
  return archive::detect_compression(head) != archive::compression::none || looks_like_tar(head);
}

/// The digest that a member's name promises: of the bytes for "blobs/sha256/HEX", else "".
std::string blob_in_name(const std::string& name) {
  if (!starts_with(name, blobs)) return {};
  const std::string digest = "sha256:" + name.substr(blobs.size());
  return is_digest(digest) ? digest : std::string();
}

/// The digest of the bytes that a name names for sure: "HEX.tar" (skopeo, podman) and "blobs/sha256/HEX" (docker).
std::string digest_of_name(const std::string& name) {
  if (const auto digest = blob_in_name(name); !digest.empty()) return digest;
  if (!ends_with(name, ".tar")) return {};
  const std::string digest = "sha256:" + name.substr(0, name.size() - 4);
  return is_digest(digest) ? digest : std::string();
}

}  // namespace

result<void> archive_members::read(const archive::byte_source& source) {
  archive::member_reader reader(decoded(source));
  archive::member_header header;
  for (size_t members = 0;; ++members) {
    ARCA_TRY(more, reader.next(header));
    if (!more) break;
    if (members > max_members) return fail(errc::invalid_argument, "image archive has too many members");
    using kind = archive::member_header::kind;
    if (header.type == kind::file) {
      ARCA_CHECK(take_file(reader, header));
    } else if (header.type == kind::symlink || header.type == kind::hard_link) {
      // Docker's own archives of old had links for repeated layers. The target is a name in this archive or nothing.
      std::string target = header.link;
      if (header.type == kind::symlink && !starts_with(target, "/")) {
        const size_t slash = header.name.rfind('/');
        target = (slash == std::string::npos ? "" : header.name.substr(0, slash + 1)) + target;
      }
      if (const auto parts = archive::split_name(target, 64)) links_[header.name] = archive::join(*parts);
    }
  }
  return settle(0);
}

result<void> archive_members::take_file(archive::member_reader& reader, const archive::member_header& header) {
  std::string head;
  while (head.size() < 512 && head.size() < header.size) {
    ARCA_TRY(piece, reader.read());
    if (piece.empty()) break;
    head += piece;
  }
  if (is_layer(head)) return take_layer(reader, header, std::move(head));
  // A document, or something that no image needs.
  if (header.size > options_.max_document) return {};
  document_bytes_ += header.size + header.name.size();
  if (document_bytes_ > options_.max_documents)
    return fail(errc::invalid_argument, "image archive has too many documents");
  for (;;) {
    ARCA_TRY(piece, reader.read());
    if (piece.empty()) break;
    head += piece;
  }
  documents_[header.name] = std::move(head);
  return {};
}

result<void> archive_members::take_layer(archive::member_reader& reader, const archive::member_header& header,
                                         std::string head) {
  if (found_.count(header.name) != 0)
    return fail(errc::invalid_argument, "image archive has " + go_quote(header.name) + " twice");
  // A layer that the store has already is not looked at: what its name promises is what the store holds.
  if (const auto promised = digest_of_name(header.name); !promised.empty())
    if (const auto there = layers_.find_bytes(promised)) {
      found_[header.name] = {nullptr, there->diff_id, promised};
      return {};
    }
  spooled_ += header.size;
  if (spooled_ > options_.max_spool) return fail(errc::invalid_argument, "image archive is too large");

  load_progress progress{hex_of(digest_of_name(header.name)).substr(0, 12), 0, header.size, false};
  if (progress.layer.empty()) progress.layer = header.name.substr(0, 12);
  const archive::byte_source bytes = [&]() -> result<std::string_view> {
    std::string_view piece = head;
    if (progress.current > 0) {
      ARCA_TRY(next, reader.read());
      piece = next;
    }
    progress.current += piece.size();
    if (options_.on_progress && !piece.empty()) options_.on_progress(progress);
    return piece;
  };
  unique_fd kept;
  bool here = false;
  if (layers_.has_size(header.size)) {
    ARCA_TRY(found, is_here(header.name, bytes, kept));
    here = found;
  }
  if (kept && !here) {
    std::string piece(256u << 10, '\0');
    ARCA_CHECK(unpack(header.name, [&]() -> result<std::string_view> {
      const ssize_t n = ::read(kept.get(), piece.data(), piece.size());
      if (n < 0) return fail_errno("read a layer's copy");
      return std::string_view(piece.data(), static_cast<size_t>(n));
    }));
  } else if (!here) {
    ARCA_CHECK(unpack(header.name, bytes));
  }
  if (options_.on_progress) {
    progress.done = true;
    options_.on_progress(progress);
  }
  return {};
}

result<void> archive_members::unpack(const std::string& name, const archive::byte_source& bytes) {
  ARCA_CHECK(settle(1));
  layer_expectation expected;
  expected.blob_digest = blob_in_name(name);
  ARCA_TRY(begun, layers_.begin(std::move(expected)));
  const std::shared_ptr<layer_writer> writer = std::move(begun);
  found_[name] = {writer, {}, {}};
  unfinished_.push_back(name);
  for (;;) {
    ARCA_TRY(piece, bytes());
    if (piece.empty()) return {};
    ARCA_CHECK(writer->feed(piece));
  }
}

/// A member that may be a layer of the store under a name that does not tell: its bytes go to a file that is nobody's
/// (`kept`, read from the start) and its digest decides. Cheaper by far than to unpack what is there.
result<bool> archive_members::is_here(const std::string& name, const archive::byte_source& bytes, unique_fd& kept) {
  auto file = fs::open(layers_.folder(), O_TMPFILE | O_RDWR);
  if (!file) return false;  // a file system without such files
  sha256 hash;
  for (;;) {
    ARCA_TRY(piece, bytes());
    if (piece.empty()) break;
    hash.update(piece);
    ARCA_CHECK(fs::write_all(file->get(), piece));
  }
  if (::lseek(file->get(), 0, SEEK_SET) != 0) return fail_errno("lseek");
  kept = std::move(*file);
  const std::string digest = "sha256:" + hash.hex(), promised = blob_in_name(name);
  const auto there = layers_.find_bytes(digest);
  if (!there || (!promised.empty() && promised != digest)) return false;
  found_[name] = {nullptr, there->diff_id, digest};
  return true;
}

/// Waits for writers until at most `leave` still work: one layer's tail overlaps the next one's head.
result<void> archive_members::settle(size_t leave) {
  while (unfinished_.size() > leave) {
    auto& one = found_[unfinished_.front()];
    unfinished_.pop_front();
    ARCA_CHECK(one.writer->finish());
    one.diff_id = one.writer->info().diff_id;
    one.blob_digest = one.writer->info().blob_digest.empty() ? one.diff_id : one.writer->info().blob_digest;
  }
  return {};
}

const std::string* archive_members::document(const std::string& name) const {
  const auto found = documents_.find(name);
  return found == documents_.end() ? nullptr : &found->second;
}

bool archive_members::has(const std::string& name) const {
  return documents_.count(name) != 0 || found_.count(name) != 0 || links_.count(name) != 0;
}

result<archive_members::layer> archive_members::layer_of(const std::string& name) {
  std::string at = name;
  for (int hops = 0; hops < 8; ++hops) {
    if (const auto found = found_.find(at); found != found_.end()) return found->second;
    // The empty file is an empty layer, too.
    if (const auto text = document(at); text != nullptr && text->empty()) {
      ARCA_TRY(begun, layers_.begin());
      ARCA_CHECK(begun->finish());
      const auto info = begun->info();
      return found_[at] = layer{std::move(begun), info.diff_id, info.diff_id};
    }
    if (document(at) != nullptr) return fail(archive::bad_archive, "archive/tar: invalid tar header");
    const auto link = links_.find(at);
    if (link == links_.end()) break;
    at = link->second;
  }
  if (links_.count(name) != 0)
    return fail(errc::invalid_argument, "invalid layer " + go_quote(name) + ": a link that leads out of the archive");
  return fail(errc::not_found, name);
}

}  // namespace arca::images
