#include "persistence/archive/decompress.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "persistence/base/text.hpp"

namespace arca::archive {
namespace {

struct free_archive {
  void operator()(::archive* a) const { archive_read_free(a); }
};

/// libarchive's filters without a format: the stream is one member.
class filter {
 public:
  filter(byte_source source, std::string head, bool lz4 = false)
      : source_(std::move(source)), head_(std::move(head)), out_(256u << 10), lz4_(lz4) {}

  result<std::string_view> next() {
    if (!archive_) ARCA_CHECK(open());
    const la_ssize_t n = archive_read_data(archive_.get(), out_.data(), out_.size());
    if (n < 0) return failure();
    return std::string_view(out_.data(), static_cast<size_t>(n));
  }

 private:
  result<void> open() {
    archive_.reset(archive_read_new());
    archive_read_support_format_raw(archive_.get());
    archive_read_support_format_empty(archive_.get());
    // Only filters that are libraries: libarchive would run a program for others.
    archive_read_support_filter_gzip(archive_.get());
    archive_read_support_filter_bzip2(archive_.get());
    archive_read_support_filter_xz(archive_.get());
    archive_read_support_filter_zstd(archive_.get());
    if (lz4_) archive_read_support_filter_lz4(archive_.get());
    if (archive_read_open(archive_.get(), this, nullptr, &on_read, nullptr) != ARCHIVE_OK) return failure();
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(archive_.get(), &entry);
    if (code != ARCHIVE_OK && code != ARCHIVE_EOF && code != ARCHIVE_WARN) return failure();
    return {};
  }

  static la_ssize_t on_read(::archive* a, void* self, const void** data) {
    auto& f = *static_cast<filter*>(self);
    if (!f.head_.empty()) {
      f.given_ = std::exchange(f.head_, {});
      *data = f.given_.data();
      return static_cast<la_ssize_t>(f.given_.size());
    }
    auto piece = f.source_();
    if (!piece) {
      f.source_error_ = piece.error();
      archive_set_error(a, EIO, "source");
      return -1;
    }
    *data = piece->data();
    return static_cast<la_ssize_t>(piece->size());
  }

  tl::unexpected<error> failure() {
    if (source_error_.code() != errc::none) return fail(source_error_);
    const char* text = archive_error_string(archive_.get());
    return fail(bad_archive, std::string("decompress: ") + (text == nullptr ? "unknown error" : text));
  }

  byte_source source_;
  std::string head_, given_;
  std::vector<char> out_;
  bool lz4_;
  error source_error_;
  std::unique_ptr<::archive, free_archive> archive_;
};

}  // namespace

compression detect_compression(std::string_view head) noexcept {
  if (starts_with(head, "\x1f\x8b")) return compression::gzip;
  if (starts_with(head, "BZh")) return compression::bzip2;
  if (starts_with(head, std::string_view("\xfd"
                                         "7zXZ\0",
                                         6)))
    return compression::xz;
  if (starts_with(head, "\x28\xb5\x2f\xfd")) return compression::zstd;
  // A zstd skippable frame may come first.
  if (head.size() >= 4 && (static_cast<unsigned char>(head[0]) & 0xf0) == 0x50 && head.substr(1, 3) == "\x2a\x4d\x18")
    return compression::zstd;
  return compression::none;
}

byte_source decompress(byte_source source) {
  struct state {
    byte_source source;
    std::string head;
    std::unique_ptr<filter> through;
    bool decided = false;
  };
  auto s = std::make_shared<state>();
  s->source = std::move(source);
  return [s]() -> result<std::string_view> {
    if (!s->decided) {
      while (s->head.size() < 6) {
        ARCA_TRY(piece, s->source());
        if (piece.empty()) break;
        s->head += piece;
      }
      s->decided = true;
      if (detect_compression(s->head) == compression::none) {
        if (!s->head.empty()) return std::string_view(s->head);
      } else {
        s->through = std::make_unique<filter>(std::move(s->source), std::move(s->head));
      }
    }
    return s->through ? s->through->next() : s->source();
  };
}

byte_source decompress_with_lz4(byte_source source) {
  auto through = std::make_shared<filter>(std::move(source), std::string(), true);
  return [through] { return through->next(); };
}

}  // namespace arca::archive
