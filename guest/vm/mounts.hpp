// Mounts in the machine, by the kernel's new mount calls: a file system is made first and attached then, so that
// nothing half-made is ever seen.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "guest/vm/kernel_modules.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// "ro,nosuid,rbind,size=1m" taken apart: attributes of the mount, and what the file system is told.
struct mount_options {
  unsigned long attributes = 0;  ///< MOUNT_ATTR_…
  bool read_only = false;        ///< of the file system too
  bool recursive = false;        ///< rbind
  std::vector<std::string> data;
};
result<mount_options> parse_mount_options(std::string_view text);

struct mount_call {
  std::string type, source, target, options;
};

/// The detached mount. Loads the file system's module; waits some seconds for a virtiofs share that is being plugged.
result<unique_fd> make_mount(const mount_call& what, kernel_modules& modules);
/// Makes `target` (a folder, or a file for a file) if it is missing and attaches the mount there.
result<void> attach_mount(int tree, const std::string& target);
result<void> unmount(const std::string& target, bool detach);

}  // namespace arca::guest
