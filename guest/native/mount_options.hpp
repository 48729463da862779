// Options of a mount in an OCI runtime spec → what the kernel is told.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::guest::native {

struct mount_options {
  unsigned long flags = 0;  ///< MS_…, for a new file system
  uint64_t set = 0;         ///< MOUNT_ATTR_…, of the mount itself
  uint64_t clear = 0;
  uint64_t set_below = 0;  ///< of it and of all mounts below it ("rro", "rnosuid", …)
  uint64_t clear_below = 0;
  unsigned long propagation = 0;  ///< one of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE; 0: as it comes
  bool propagation_below = false;
  bool bind = false;
  bool recursive = false;  ///< rbind
  std::string data;        ///< for the file system
};

/// Later options win. errc::unsupported for options that would be lost silently (idmap, tmpcopyup).
result<mount_options> parse_mount_options(const std::vector<std::string>& options);

/// "rslave" and the like, for linux.rootfsPropagation; 0 with `below` untouched when it is none.
unsigned long propagation_of(const std::string& word, bool& below);

}  // namespace arca::guest::native
