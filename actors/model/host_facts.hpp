// What the engine knows of its host: read once, used by /info, /version and by the checks of create and update.
#pragma once
#include <cstdint>
#include <string>

namespace arca::model {

struct host_facts {
  std::string kernel_version;    ///< uname -r
  std::string operating_system;  ///< PRETTY_NAME of /etc/os-release: "Debian GNU/Linux 12 (bookworm)"
  std::string os_version;        ///< VERSION_ID: "12"
  std::string machine;           ///< uname -m: "x86_64" (Architecture of /info)
  std::string architecture;      ///< Go's name: "amd64" (Arch of /version)
  std::string hostname;
  int64_t mem_total = 0;  ///< bytes
  int cpus = 1;           ///< online processors that this process may use
  std::string cpu_list;   ///< "0-1": cpuset.cpus of the root group
  std::string mem_nodes;  ///< "0"
  int cgroup_version = 1;

  // What the kernel's control groups offer (Docker's sysinfo).
  bool memory_limit = true, swap_limit = true, memory_reservation = true, memory_swappiness = true,
       kernel_memory_tcp = true, oom_kill_disable = true;
  bool cpu_shares = true, cpu_cfs = true, cpu_realtime = false, cpuset = true, pids_limit = true;
  bool blkio_weight = true, blkio_weight_device = true, blkio_throttle = true;
  bool cgroup_namespaces = true, ipv4_forwarding = true, seccomp = true, apparmor = false;
};

/// Reads /proc, /sys and /etc/os-release. Never fails: what cannot be read keeps its default.
host_facts gather_host_facts();
/// gather_host_facts() of the first call.
const host_facts& this_host();

}  // namespace arca::model
