// What ps shows is made of: read where the processes are.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace arca::guest {

struct process_facts {
  int64_t pid = 0;
  std::string stat, command;  ///< /proc/PID/stat and cmdline, cut
  uint32_t uid = 0;
};
struct process_table {
  std::vector<process_facts> processes;
  double uptime = 0;  ///< of the kernel, seconds
  int64_t memory_kib = 0;
  int64_t now = 0;  ///< unix seconds
};

/// Of those that have not ended, at most about 2 MiB. A process may make the look at its memory wait: not on the loop.
process_table read_processes(const std::vector<pid_t>& pids);

}  // namespace arca::guest
