// How large a virtual machine is made for a container.
#pragma once
#include <cstdint>

namespace arca::vm {

struct machine_size {
  uint64_t memory_mib = 0;
  unsigned cpus = 0;
};

/// `memory` in bytes and `nano_cpus` as in HostConfig, 0: not given, then `otherwise`. A limit is the container's own
/// (its cgroup inside keeps it): its machine gets more, for the kernel and the agent. At most `host_cpus` processors.
machine_size machine_size_of(int64_t memory, int64_t nano_cpus, const machine_size& otherwise, unsigned host_cpus);

/// How many stopped machines a host has room for beside its work: none below 4 GiB of available memory or with one
/// processor (a refill would take it from the starts), then one, two from 16 GiB on.
unsigned automatic_pool_size(uint64_t available_mib, unsigned host_cpus);

/// How many machines of `machine_mib` are kept when `size` are wanted and those that wait may have `limit_mib` of
/// memory together (0: no limit).
unsigned pool_size_within(unsigned size, uint64_t limit_mib, uint64_t machine_mib);

}  // namespace arca::vm
