// libarchive's tar reader over a byte_source: the one place that parses tar. Names come out as the bytes that the
// archive holds, whatever the process's locale is.
#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

/// libarchive converts pax names from UTF-8 to the thread's character set (and normalises them to NFC when that is
/// UTF-8). In the C locale a name that is not ASCII fails to convert, and libarchive falls back to the raw bytes: what
/// we want.
class c_locale_scope {
 public:
  c_locale_scope();
  ~c_locale_scope();
  c_locale_scope(const c_locale_scope&) = delete;
  c_locale_scope& operator=(const c_locale_scope&) = delete;

 private:
  locale_t before_;
};

class entry_reader {
 public:
  explicit entry_reader(const byte_source& source);

  /// The next entry, valid until the next call; nullptr at the end mark (or the end of the stream).
  result<archive_entry*> next();

  struct block {
    std::string_view data;
    uint64_t offset = 0;         ///< in the file
    uint64_t stream_offset = 0;  ///< in the tar stream
    bool end = false;            ///< no more content; `offset` is the file's size then
  };
  /// Content of the current entry in stream order, holes left out.
  result<block> read();

  /// Reads the stream to its very end, so that whoever counts or hashes it has seen all.
  result<void> drain();

 private:
  struct free_archive {
    void operator()(::archive* a) const { archive_read_free(a); }
  };
  static la_ssize_t on_read(::archive* a, void* self, const void** data);
  tl::unexpected<error> failure(std::string_view what);

  const byte_source& source_;
  std::unique_ptr<::archive, free_archive> archive_;
  error source_error_;
  bool opened_ = false, ended_ = false;
  uint64_t payload_ = 0;  // stream position of the next content byte
};

/// The path of an entry as bytes; nullptr-safe.
std::string_view path_of(archive_entry* entry);

}  // namespace arca::archive
