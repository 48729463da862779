// A folder (known by descriptor) as a tar stream: deterministic order, whole metadata, pax headers only where ustar
// does not suffice. Never follows a link; safe while something changes the tree (a file that shrinks is padded with
// zeros).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

struct pack_options {
  /// What to pack: a path below the root, resolved inside it, its last component not followed. Empty: all of the root.
  std::string path;
  /// Name of the packed thing in the archive ("x" gives "x", "x/a" …). Empty: the entries below `path` get bare names
  /// ("a", not "./a") and `path` itself has no entry; it must be a folder then.
  std::string name;
  /// 0/0 devices become ".wh.NAME", opaque folders get ".wh..wh..opq": an overlay's upper folder as an image layer.
  bool overlay_to_oci = false;
  bool xattrs = true;        ///< security.capability and user.* (never overlay's own)
  bool cross_mounts = true;  ///< descend into other file systems
  /// True: leave this entry (name in the archive) and what is below it out.
  std::function<bool(std::string_view)> exclude;
};

struct pack_result {
  uint64_t entries = 0;
  uint64_t content = 0;  ///< bytes of file content
};

/// errc::not_found when the path does not exist. Sockets are left out, as in Docker.
result<pack_result> pack(int root, const pack_options& options, const byte_sink& sink);

}  // namespace arca::archive
