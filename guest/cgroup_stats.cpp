// The container's numbers in the form of Docker's GET /containers/{id}/stats (moby's daemon/stats_unix.go).
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <sstream>

#include "guest/cgroup.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using json = nlohmann::ordered_json;
constexpr uint64_t nanos = 1'000'000'000;

uint64_t number(const std::string& path) {
  return std::strtoull(read_small(path).c_str(), nullptr, 10);
}
uint64_t tick() {
  return nanos / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
}

uint64_t memory_of_machine() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// user, nice, system, idle, iowait, irq, softirq of the first line of /proc/stat.
uint64_t system_usage() {
  std::istringstream line(read_small("/proc/stat"));
  std::string name;
  line >> name;
  uint64_t sum = 0, value = 0;
  for (int i = 0; i < 7 && line >> value; ++i) sum += value;
  return sum * tick();
}

json cpu(const std::string& usage_folder, const std::string& quota_folder, bool unified) {
  json usage;
  json throttling;
  const std::string quota = read_small(quota_folder + "/cpu.stat");
  if (unified) {
    usage["total_usage"] = keyed_number(quota, "usage_usec") * 1000;
    usage["usage_in_kernelmode"] = keyed_number(quota, "system_usec") * 1000;
    usage["usage_in_usermode"] = keyed_number(quota, "user_usec") * 1000;
  } else {
    usage["total_usage"] = number(usage_folder + "/cpuacct.usage");
    json each = json::array();
    std::istringstream per_cpu(read_small(usage_folder + "/cpuacct.usage_percpu"));
    for (uint64_t value = 0; per_cpu >> value;) each.push_back(value);
    usage["percpu_usage"] = each;
    const std::string modes = read_small(usage_folder + "/cpuacct.stat");
    usage["usage_in_kernelmode"] = keyed_number(modes, "system") * tick();
    usage["usage_in_usermode"] = keyed_number(modes, "user") * tick();
  }
  throttling["periods"] = keyed_number(quota, "nr_periods");
  throttling["throttled_periods"] = keyed_number(quota, "nr_throttled");
  throttling["throttled_time"] =
      unified ? keyed_number(quota, "throttled_usec") * 1000 : keyed_number(quota, "throttled_time");
  json out;
  out["cpu_usage"] = usage;
  out["system_cpu_usage"] = system_usage();
  out["online_cpus"] = sysconf(_SC_NPROCESSORS_ONLN);
  out["throttling_data"] = throttling;
  return out;
}

json memory_details(const std::string& folder, bool unified) {
  static constexpr std::array v1 = {"active_anon",   "active_file", "cache",    "dirty",       "inactive_anon",
                                    "inactive_file", "mapped_file", "pgfault",  "pgmajfault",  "pgpgin",
                                    "pgpgout",       "rss",         "rss_huge", "unevictable", "writeback"};
  json out = json::object();
  const std::string text = read_small(folder + "/memory.stat");
  if (!unified) {
    for (const char* name : v1) out[name] = keyed_number(text, name);
    for (const char* name : v1) out[std::string("total_") + name] = keyed_number(text, std::string("total_") + name);
    out["hierarchical_memory_limit"] = keyed_number(text, "hierarchical_memory_limit");
    out["hierarchical_memsw_limit"] = keyed_number(text, "hierarchical_memsw_limit");
    return out;
  }
  std::istringstream lines(text);
  std::string name;
  for (uint64_t value = 0; lines >> name >> value;) out[name] = value;
  return out;
}

json memory(const std::string& folder, bool unified) {
  json out;
  uint64_t limit = 0;
  if (unified) {
    out["usage"] = number(folder + "/memory.current");
    const std::string text = read_small(folder + "/memory.max");
    limit = starts_with(text, "max") ? 0 : std::strtoull(text.c_str(), nullptr, 10);
  } else {
    out["usage"] = number(folder + "/memory.usage_in_bytes");
    out["max_usage"] = number(folder + "/memory.max_usage_in_bytes");
    if (const uint64_t failures = number(folder + "/memory.failcnt"); failures > 0) out["failcnt"] = failures;
    limit = number(folder + "/memory.limit_in_bytes");
  }
  out["stats"] = memory_details(folder, unified);
  const uint64_t machine = memory_of_machine();
  out["limit"] = limit == 0 || limit > machine ? machine : limit;
  return out;
}

json pids(const std::string& folder) {
  json out;
  out["current"] = number(folder + "/pids.current");
  const std::string limit = read_small(folder + "/pids.max");
  if (!limit.empty() && !starts_with(limit, "max")) out["limit"] = std::strtoull(limit.c_str(), nullptr, 10);
  return out;
}

json device_entry(const std::string& device, const std::string& operation, uint64_t value) {
  json out;
  out["major"] = std::strtoull(device.c_str(), nullptr, 10);
  out["minor"] = std::strtoull(device.c_str() + std::min(device.find(':') + 1, device.size()), nullptr, 10);
  out["op"] = operation;
  out["value"] = value;
  return out;
}

// "8:0 Read 4096" lines; the closing "Total" line has two words only.
json v1_devices(const std::string& file) {
  json out = json::array();
  std::istringstream lines(read_small(file));
  for (std::string line; std::getline(lines, line);) {
    const auto words = split(line, ' ');
    if (words.size() == 3)
      out.push_back(device_entry(words[0], words[1], std::strtoull(words[2].c_str(), nullptr, 10)));
  }
  return out;
}

json v2_devices(const std::string& file) {
  json out = json::array();
  std::istringstream lines(read_small(file));
  for (std::string line; std::getline(lines, line);) {
    const auto words = split(line, ' ');
    for (size_t i = 1; i < words.size(); ++i) {
      const char* operation = starts_with(words[i], "rbytes=")   ? "read"
                              : starts_with(words[i], "wbytes=") ? "write"
                                                                 : nullptr;
      if (operation) out.push_back(device_entry(words[0], operation, std::strtoull(words[i].c_str() + 7, nullptr, 10)));
    }
  }
  return out;
}

json block(const std::string& folder, bool unified) {
  json out;
  if (unified) {
    out["io_service_bytes_recursive"] = v2_devices(folder + "/io.stat");
  } else {
    out["io_service_bytes_recursive"] = v1_devices(folder + "/blkio.throttle.io_service_bytes_recursive");
    out["io_serviced_recursive"] = v1_devices(folder + "/blkio.throttle.io_serviced_recursive");
  }
  for (const char* name : {"io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
                           "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive"})
    if (!out.contains(name)) out[name] = unified ? json(nullptr) : json::array();
  return out;
}

// Two heading lines, then "  eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop …".
json networks() {
  json out = json::object();
  std::istringstream lines(read_small("/proc/self/net/dev"));
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(line.find_first_not_of(' '), colon - line.find_first_not_of(' '));
    if (name == "lo") continue;
    std::istringstream fields(line.substr(colon + 1));
    std::array<uint64_t, 12> v{};
    for (auto& value : v) fields >> value;
    json each;
    each["rx_bytes"] = v[0];
    each["rx_packets"] = v[1];
    each["rx_errors"] = v[2];
    each["rx_dropped"] = v[3];
    each["tx_bytes"] = v[8];
    each["tx_packets"] = v[9];
    each["tx_errors"] = v[10];
    each["tx_dropped"] = v[11];
    out[name] = each;
  }
  return out;
}
}  // namespace

std::string cgroup::statistics(bool with_networks) const {
  const bool v2 = unified();
  json out;
  out["pids_stats"] = pids(folder("pids"));
  out["blkio_stats"] = block(folder("blkio"), v2);
  out["cpu_stats"] = cpu(folder("cpuacct"), folder("cpu"), v2);
  out["memory_stats"] = memory(folder("memory"), v2);
  if (with_networks)
    if (const json all = networks(); !all.empty()) out["networks"] = all;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace arca::guest
