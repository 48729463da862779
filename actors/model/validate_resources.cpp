// Checks of container.Resources (Docker's verifyPlatformContainerResources).
#include <charconv>
#include <set>

#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

constexpr int64_t minimum_memory = 6 << 20;
constexpr int list_limit = 8192;  // highest processor or memory node that is looked at

// "0-2,5" → numbers. False for what is no list.
bool parse_list(const std::string& text, std::set<int>& out) {
  const auto number = [](const std::string& part, int& v) {
    const auto [p, error] = std::from_chars(part.data(), part.data() + part.size(), v);
    return error == std::errc() && p == part.data() + part.size() && v >= 0 && v <= list_limit;
  };
  if (text.empty()) return true;
  for (const auto& part : split(text, ',')) {
    const auto dash = part.find('-');
    int first = 0, last = 0;
    if (!number(part.substr(0, dash), first)) return false;
    last = first;
    if (dash != std::string::npos && (!number(part.substr(dash + 1), last) || last < first)) return false;
    for (int i = first; i <= last; ++i) out.insert(i);
  }
  return true;
}

result<void> check_list(const json& r, const char* key, const char* what, const char* things,
                        const std::string& available) {
  const auto& text = text_of(r, key);
  std::set<int> wanted, there;
  if (!parse_list(text, wanted))
    return refuse("Invalid value " + text + " for cpuset " + what + ": invalid format: " + text);
  parse_list(available, there);
  for (const int n : wanted)
    if (there.count(n) == 0)
      return refuse("Requested " + std::string(things) + " are not available - requested " + text +
                    ", available: " + available);
  return {};
}

result<void> check_memory(json& r, const host_facts& host, bool update, warning_list& warnings) {
  if (!is_null(r, "MemorySwappiness") && number_of(r, "MemorySwappiness") == -1) r["MemorySwappiness"] = nullptr;
  if (const auto memory = number_of(r, "Memory"); memory != 0 && memory < minimum_memory)
    return refuse("Minimum memory limit allowed is 6MB");
  if (number_of(r, "Memory") > 0 && !host.memory_limit) {
    warnings.emplace_back(
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.");
    r["Memory"] = 0;
    r["MemorySwap"] = -1;
  }
  const auto memory = number_of(r, "Memory");
  if (memory > 0 && number_of(r, "MemorySwap") != -1 && !host.swap_limit) {
    warnings.emplace_back(
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited "
        "without swap.");
    r["MemorySwap"] = -1;
  }
  const auto swap = number_of(r, "MemorySwap");
  if (memory > 0 && swap > 0 && swap < memory)
    return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
  if (memory == 0 && swap > 0 && !update)
    return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
  if (!is_null(r, "MemorySwappiness") && !host.memory_swappiness) {
    warnings.emplace_back(
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory "
        "swappiness discarded.");
    r["MemorySwappiness"] = nullptr;
  }
  if (!is_null(r, "MemorySwappiness"))
    if (const auto v = number_of(r, "MemorySwappiness"); v < 0 || v > 100)
      return refuse("Invalid value: " + std::to_string(v) + ", valid memory swappiness range is 0-100");
  if (number_of(r, "MemoryReservation") > 0 && !host.memory_reservation) {
    warnings.emplace_back(
        "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. "
        "Limitation discarded.");
    r["MemoryReservation"] = 0;
  }
  const auto reservation = number_of(r, "MemoryReservation");
  if (reservation > 0 && reservation < minimum_memory) return refuse("Minimum memory reservation allowed is 6MB");
  if (memory > 0 && reservation > 0 && memory < reservation)
    return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
  if (number_of(r, "KernelMemory") > 0) {  // gone from the kernel since 5.4
    warnings.emplace_back(
        "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded.");
    r["KernelMemory"] = 0;
  }
  if (!is_null(r, "OomKillDisable") && !host.oom_kill_disable) {
    if (flag_of(r, "OomKillDisable"))
      warnings.emplace_back("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    r["OomKillDisable"] = nullptr;
  }
  if (flag_of(r, "OomKillDisable") && memory == 0)
    warnings.emplace_back(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in the "
        "system running out of resources.");
  if (!is_null(r, "PidsLimit") && !host.pids_limit) {
    if (number_of(r, "PidsLimit") > 0)
      warnings.emplace_back(
          "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.");
    r["PidsLimit"] = nullptr;
  }
  return {};
}

result<void> check_cpu(json& r, const host_facts& host, warning_list& warnings) {
  if (const auto nano = number_of(r, "NanoCpus"); nano != 0) {
    if (number_of(r, "CpuPeriod") > 0)
      return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    if (number_of(r, "CpuQuota") > 0) return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    if (!host.cpu_cfs)
      return refuse(
          "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted");
    if (nano < 0 || nano > int64_t{host.cpus} * 1'000'000'000) {
      const auto count = std::to_string(host.cpus);
      return refuse("range of CPUs is from 0.01 to " + count + ".00, as there are only " + count + " CPUs available");
    }
  }
  if (number_of(r, "CpuShares") > 0 && !host.cpu_shares) {
    warnings.emplace_back("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.");
    r["CpuShares"] = 0;
  }
  if ((number_of(r, "CpuPeriod") != 0 || number_of(r, "CpuQuota") != 0) && !host.cpu_cfs) {
    warnings.emplace_back("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
    r["CpuPeriod"] = r["CpuQuota"] = 0;
  }
  if (const auto period = number_of(r, "CpuPeriod"); period != 0 && (period < 1000 || period > 1'000'000))
    return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  if (const auto quota = number_of(r, "CpuQuota"); quota > 0 && quota < 1000)
    return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  if (number_of(r, "CpuPercent") > 0) {
    warnings.emplace_back("linux does not support CPU percent. Percent discarded.");
    r["CpuPercent"] = 0;
  }
  if ((!text_of(r, "CpusetCpus").empty() || !text_of(r, "CpusetMems").empty()) && !host.cpuset) {
    warnings.emplace_back("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.");
    r["CpusetCpus"] = r["CpusetMems"] = "";
  }
  ARCA_CHECK(check_list(r, "CpusetCpus", "cpus", "CPUs", host.cpu_list));
  return check_list(r, "CpusetMems", "mems", "memory nodes", host.mem_nodes);
}

result<void> check_block_io(json& r, const host_facts& host, warning_list& warnings) {
  if (number_of(r, "BlkioWeight") > 0 && !host.blkio_weight) {
    warnings.emplace_back(
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.");
    r["BlkioWeight"] = 0;
  }
  if (const auto weight = number_of(r, "BlkioWeight"); weight > 0 && (weight < 10 || weight > 1000))
    return refuse("Range of blkio weight is from 10 to 1000");
  if (number_of(r, "IOMaximumBandwidth") != 0 || number_of(r, "IOMaximumIOps") != 0)
    return refuse("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps");
  struct limit {
    const char* key;
    bool supported;
    const char* warning;
  };
  const limit limits[] = {
      {"BlkioWeightDevice", host.blkio_weight_device,
       "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."},
      {"BlkioDeviceReadBps", host.blkio_throttle,
       "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit "
       "discarded."},
      {"BlkioDeviceWriteBps", host.blkio_throttle,
       "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit "
       "discarded."},
      {"BlkioDeviceReadIOps", host.blkio_throttle,
       "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit "
       "discarded."},
      {"BlkioDeviceWriteIOps", host.blkio_throttle,
       "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit "
       "discarded."}};
  for (const auto& l : limits) {
    if (list_of(r, l.key).empty() || l.supported) continue;
    warnings.emplace_back(l.warning);
    r[l.key] = json::array();
  }
  return {};
}

}  // namespace

result<void> check_resources(json& r, const host_facts& host, bool update, warning_list& warnings) {
  ARCA_CHECK(check_memory(r, host, update, warnings));
  ARCA_CHECK(check_cpu(r, host, warnings));
  return check_block_io(r, host, warnings);
}

}  // namespace arca::model
