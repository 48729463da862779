// What the host allows and has: read once or per start, so that the spec itself is a pure function of its inputs.
#pragma once
#include <sys/resource.h>

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::oci {

struct host_limits {
  uint64_t bounding_caps = 0;             ///< bit n: capability n may be given away
  std::map<std::string, rlimit> rlimits;  ///< hard limits of this process, by "RLIMIT_NOFILE"; absent: unlimited
  bool may_raise_rlimits = false;         ///< CAP_SYS_RESOURCE
  bool cgroup_v2 = false;
  bool cgroup_always_private = false;  ///< a container never sees the groups above its own
  bool swap_limit = true;              ///< the memory controller counts swap
  std::string architecture;            ///< "amd64", "arm64": GOARCH
  int kernel_major = 0, kernel_minor = 0;
};
/// Of this process and kernel, read once.
const host_limits& this_host();
/// Of the kernel in a virtual machine (arca setup's, 6.1): the agent there may do everything.
const host_limits& guest_kernel();

struct device {
  std::string path;  ///< inside
  char type = 'c';   ///< c, b, p
  int64_t major = 0, minor = 0;
  uint32_t mode = 0666;  ///< permission bits
  uint32_t uid = 0, gid = 0;
  std::string access = "rwm";  ///< of the cgroup rule
};

/// HostConfig.Devices: looks the host paths up (a folder gives all devices below). Docker's error for a missing one.
result<std::vector<device>> gather_devices(const nlohmann::json& host_config);
/// Every device of the host's /dev, for --privileged (ptys, shm, mqueue and console left out, as Docker does).
std::vector<device> all_devices();

}  // namespace arca::oci
