// The content of an image's folder as the first content of a fresh volume (Docker's copy-up; `nocopy` skips it).
#pragma once
#include <string>

#include "persistence/base/error.hpp"

namespace arca {

/// Copies what lies at `path` inside the root file system `root` (a descriptor of its mounted root) into the volume
/// folder `volume`, with owner, mode, times, xattrs, hard links, devices and holes; the folder's own owner and mode
/// too. Does nothing and answers false when the volume is not empty or `path` is no folder there. Never leaves `root`:
/// links in the path are resolved inside it. Blocks.
result<bool> copy_up(int root, const std::string& path, int volume);

}  // namespace arca
