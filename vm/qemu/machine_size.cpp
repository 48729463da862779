#include "vm/qemu/machine_size.hpp"

#include <algorithm>

#include "vm/qemu/command_line.hpp"

namespace arca::vm {
namespace {
constexpr uint64_t mib = 1u << 20;
/// Kernel image and data (32 MiB of them not in MemTotal), agent, what both need while they work.
constexpr uint64_t overhead_mib = 96;
constexpr int64_t one_cpu = 1'000'000'000;
}  // namespace

machine_size machine_size_of(int64_t memory, int64_t nano_cpus, const machine_size& otherwise, unsigned host_cpus) {
  machine_size size = otherwise;
  if (memory > 0) size.memory_mib = (static_cast<uint64_t>(memory) + mib - 1) / mib + overhead_mib;
  if (nano_cpus > 0)
    size.cpus =
        static_cast<unsigned>(std::min<int64_t>(nano_cpus / one_cpu + (nano_cpus % one_cpu != 0 ? 1 : 0), 1024));
  size.memory_mib = std::max(size.memory_mib, least_memory_mib);
  size.cpus = std::clamp(size.cpus, 1u, std::max(1u, host_cpus));
  return size;
}

unsigned automatic_pool_size(uint64_t available_mib, unsigned host_cpus) {
  if (host_cpus < 2 || available_mib < 4096) return 0;
  return available_mib < 16384 ? 1 : 2;
}

unsigned pool_size_within(unsigned size, uint64_t limit_mib, uint64_t machine_mib) {
  if (limit_mib == 0 || machine_mib == 0) return size;
  return static_cast<unsigned>(std::min<uint64_t>(size, limit_mib / machine_mib));
}

}  // namespace arca::vm
