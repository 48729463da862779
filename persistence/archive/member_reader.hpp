// Walks the members of a tar stream without unpacking it: for archives that carry an image, a build context or one
// file.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

struct member_header {
  enum class kind : uint8_t { file, folder, symlink, hard_link, other };
  std::string name;  ///< cleaned: no leading "/", no "." or ".." components; empty for the root itself
  kind type = kind::other;
  uint64_t size = 0;
  std::string link;  ///< raw target of a link
  uint32_t mode = 0;
};

class member_reader {
 public:
  explicit member_reader(byte_source source);
  ~member_reader();
  member_reader(const member_reader&) = delete;
  member_reader& operator=(const member_reader&) = delete;

  /// The next member; false at the end. bad_archive: broken archive, or a name that climbs above the root.
  result<bool> next(member_header& into);
  /// Content of the current member, piece by piece, holes filled with zeros; empty at its end.
  result<std::string_view> read();
  /// The whole content; bad_archive when it is longer than `limit`.
  result<std::string> read_all(size_t limit);

 private:
  struct impl;
  std::unique_ptr<impl> self_;
};

}  // namespace arca::archive
