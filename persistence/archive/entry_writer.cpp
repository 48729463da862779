#include "persistence/archive/entry_writer.hpp"

#include <cerrno>

#include "persistence/archive/entry_reader.hpp"

namespace arca::archive {
namespace {
constexpr size_t buffer_size = 256u << 10;
}

entry_writer::entry_writer(byte_sink sink)
    : sink_(std::move(sink)), entry_(archive_entry_new()), archive_(archive_write_new()) {
  buffer_.reserve(buffer_size);
  archive_write_set_format_pax_restricted(archive_.get());
  archive_write_set_bytes_per_block(archive_.get(), 0);  // no padding to 10 KiB: buffer_ does the blocking
  archive_write_open(archive_.get(), this, nullptr, &on_write, nullptr);
}

entry_writer::~entry_writer() {
  // libarchive writes the end mark when it is freed; nobody wants it of an archive that was given up.
  if (archive_) archive_write_fail(archive_.get());
}

la_ssize_t entry_writer::on_write(::archive* a, void* self, const void* data, size_t size) {
  auto& writer = *static_cast<entry_writer*>(self);
  const std::string_view bytes(static_cast<const char*>(data), size);
  result<void> done;
  if (writer.buffer_.size() + size > buffer_size) done = writer.flush();
  if (done) {
    if (size >= buffer_size)
      done = writer.sink_(bytes);
    else
      writer.buffer_ += bytes;
  }
  if (done) return static_cast<la_ssize_t>(size);
  writer.sink_error_ = done.error();
  archive_set_error(a, EIO, "sink");
  return -1;
}

result<void> entry_writer::flush() {
  if (buffer_.empty()) return {};
  auto done = sink_(buffer_);
  buffer_.clear();
  return done;
}

tl::unexpected<error> entry_writer::failure(std::string_view what) {
  if (sink_error_.code() != errc::none) return fail(sink_error_);
  const char* text = archive_error_string(archive_.get());
  return fail(errc::internal,
              "write archive: " + std::string(what) + ": " + (text == nullptr ? "unknown error" : text));
}

archive_entry* entry_writer::fresh() {
  return archive_entry_clear(entry_.get());
}

result<void> entry_writer::header() {
  const c_locale_scope locale;
  // A warning: a name that is not ASCII was written as raw bytes (hdrcharset=BINARY), which is what it is.
  const int code = archive_write_header(archive_.get(), entry_.get());
  if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return failure("header");
  return {};
}

result<void> entry_writer::data(std::string_view bytes) {
  while (!bytes.empty()) {
    const la_ssize_t n = archive_write_data(archive_.get(), bytes.data(), bytes.size());
    if (n <= 0) return failure("content");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

result<void> entry_writer::finish() {
  if (archive_write_close(archive_.get()) != ARCHIVE_OK) return failure("end");
  return flush();
}

}  // namespace arca::archive
