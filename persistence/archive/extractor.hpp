// Unpacks a tar stream below a folder that is known by descriptor. The archive is hostile until proven otherwise: no
// entry is ever created outside the root, whatever names, links or links made by earlier entries say. libarchive reads
// the format; everything that touches the file system is ours, relative to descriptors, and never follows a link out
// (openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS).
//
// Names are bytes: no locale takes part. Names are cleaned as Docker does (a leading "/" is cut, "a/../b" is "b"); a
// name or hard link target that climbs above the root is refused.
#pragma once
#include <sys/types.h>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

enum class extract_mode : uint8_t {
  plain,  ///< docker cp: entries as they are
  layer,  ///< an image layer for overlayfs: ".wh.x" becomes a 0/0 device, ".wh..wh..opq" the opaque mark
};

struct extract_limits {
  uint64_t max_bytes = uint64_t{256} << 30;  ///< of file content that is really in the stream
  uint64_t max_entries = 1'000'000;
  uint32_t max_depth = 512;          ///< components of a name
  uint64_t max_metadata = 1u << 20;  ///< bytes of extended attributes of one entry
};

struct owner {
  uid_t uid = 0;
  gid_t gid = 0;
};

/// Content of a regular file as it stood in the stream; reported in stream order while unpacking (layer headers log).
struct payload_range {
  std::string_view path;  ///< below the root, links resolved
  uint64_t entry = 0;     ///< number of the entry in the archive
  uint64_t file_offset = 0;
  uint64_t stream_offset = 0;
  uint64_t length = 0;
};

/// Sees what the stream held and what happened to it. All members are optional.
struct extract_observer {
  std::function<result<void>(const payload_range&)> on_payload;
  /// A regular file at `path` that this archive brought is about to be replaced by a later entry. The observer may
  /// rename it away (it is `name` in the folder `parent`); it is removed after the call otherwise.
  std::function<result<void>(int parent, const std::string& name, std::string_view path)> on_replaced;
};

struct extract_options {
  extract_mode mode = extract_mode::plain;
  extract_limits limits;
  std::string destination;                ///< existing folder below the root, resolved inside it; empty: the root
  bool no_overwrite_dir_non_dir = false;  ///< refuse to replace a folder by something else, and the reverse
  std::optional<owner> chown_to;          ///< everything belongs to this owner, whatever the archive says
  bool best_effort_xattrs = false;        ///< an attribute that the file system refuses is skipped
  extract_observer observer;
};

struct extract_result {
  uint64_t entries = 0;
  uint64_t size = 0;     ///< as Docker counts: lstat sizes of all but folders, a file with several links once
  uint64_t content = 0;  ///< bytes of file content that were in the stream
  uint64_t dropped = 0;  ///< 0/0 devices and overlay attributes that the archive tried to bring
};

/// Unpacks the whole stream; what follows the end mark of the archive is read and ignored. An empty stream is an empty
/// archive. bad_archive: the archive is broken or forbidden ("archive/tar: invalid tar header" when it is no
/// tar), or over a limit. What was unpacked before an error stays: the caller removes the folder.
result<extract_result> extract(int root, const byte_source& source, const extract_options& options);

}  // namespace arca::archive
