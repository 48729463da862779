// Starts QEMU and virtiofsd: children that outlive the daemon, with the meant descriptors only, in their cgroup, as
// their user, and where asked with mounts that nobody else sees.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

struct child_plan {
  std::vector<std::string> argv;  ///< argv[0] is the path of the program
  std::vector<int> descriptors;   ///< become 3, 4, … in the child
  int output = -1;                ///< its standard output and error; standard input is /dev/null
  std::vector<int> cgroups;       ///< open cgroup.procs files
  uint32_t user = 0;              ///< user and group id; 0: stays root with its capabilities
  uint32_t group = 0;             ///< one more group of that user; 0: none
  uint64_t open_files = 0;        ///< RLIMIT_NOFILE as far as the hard limit allows; 0: as ours
  struct mount {
    int tree;            ///< a detached mount; it is attached, not copied
    std::string target;  ///< an existing folder or file
  };
  std::vector<mount> mounts;  ///< not empty: in a mount namespace of its own
};

struct child_process {
  pid_t pid = 0;
  uint64_t start_time = 0;  ///< field 22 of /proc/PID/stat
  unique_fd pidfd;
};

/// Returns when the program runs (execve has succeeded). The child is leader of a session of its own, has default
/// signal actions, an empty mask, an empty environment, and can gain no privileges.
result<child_process> start_child(const child_plan& plan);

/// What a program prints within `limit_ms` (then it is killed), at most 64 KiB: versions.
result<std::string> output_of(const std::vector<std::string>& argv, int limit_ms);

}  // namespace arca::vm
