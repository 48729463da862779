// libarchive's pax writer over a byte_sink: the one place that formats tar.
#pragma once
#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string>
#include <string_view>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

class entry_writer {
 public:
  explicit entry_writer(byte_sink sink);
  ~entry_writer();
  entry_writer(const entry_writer&) = delete;
  entry_writer& operator=(const entry_writer&) = delete;

  /// An empty entry to fill in; the same object each time.
  archive_entry* fresh();
  /// Writes the header of what fresh() gave. Names are bytes (set them with archive_entry_copy_…).
  result<void> header();
  /// Content; exactly as many bytes as the header said.
  result<void> data(std::string_view bytes);
  /// End mark, and everything given to the sink.
  result<void> finish();

 private:
  struct free_archive {
    void operator()(::archive* a) const { archive_write_free(a); }
  };
  struct free_entry {
    void operator()(archive_entry* e) const { archive_entry_free(e); }
  };
  static la_ssize_t on_write(::archive* a, void* self, const void* data, size_t size);
  result<void> flush();
  tl::unexpected<error> failure(std::string_view what);

  byte_sink sink_;
  std::string buffer_;
  error sink_error_;
  std::unique_ptr<archive_entry, free_entry> entry_;
  std::unique_ptr<::archive, free_archive> archive_;
};

}  // namespace arca::archive
