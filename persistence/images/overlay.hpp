// The root file system of a container: an overlay of layers that exists as a descriptor only. Nothing is ever mounted
// in the host's mount table, so a crash leaves nothing behind. Options are redirect_dir=off, metacopy=off, index=off:
// what a hostile layer could forge is not believed (docs: traps 2, 3).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::images {

struct overlay_spec {
  std::vector<std::string> lower;  ///< layer folders, topmost first; up to 500 (the kernel's bound)
  std::string upper, work;         ///< both empty: read-only view of the layers
  bool read_only = false;          ///< the mount refuses writes though it has an upper folder
};

/// A detached mount; the descriptor is its root and may be given to move_mount(2), openat2(2) or another process. It
/// is unmounted when the last user is gone. Needs CAP_SYS_ADMIN. Without layers the upper folder itself is the root.
result<unique_fd> mount_overlay(const overlay_spec& spec);

/// The way for kernels before 6.5, which have no lowerdir+: mount(2) in a private namespace, then open_tree(2).
/// mount_overlay falls back to it by itself; public for its test.
result<unique_fd> mount_overlay_legacy(const overlay_spec& spec);

/// The writable part of a container: DIR/upper and DIR/work.
struct container_layer {
  std::string upper, work;
};
/// Makes both folders (root's mode 0755 for upper: it becomes "/" of the container).
result<container_layer> make_container_layer(const std::string& dir);
/// SizeRw: lstat sizes of all but folders below upper, whiteouts left out, a file with several links once. A tree that
/// changes meanwhile is no error.
result<uint64_t> size_of_tree(const std::string& dir);

}  // namespace arca::images
