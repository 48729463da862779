// HostConfig's limits → linux.resources.
#include "vm/oci/resources.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <algorithm>

#include "vm/oci/spec.hpp"

namespace arca::oci {
namespace {

void set_if(json& object, const char* name, int64_t value) {
  if (value != 0) object[name] = value;
}

json memory_of(const json& hc, const host_limits& host) {
  json memory = json::object();
  const auto limit = integer_or(hc, "Memory", 0);
  auto swap = integer_or(hc, "MemorySwap", 0);
  set_if(memory, "limit", limit);
  set_if(memory, "reservation", integer_or(hc, "MemoryReservation", 0));
  if (limit > 0 && swap == 0) swap = limit > INT64_MAX / 2 ? -1 : limit * 2;  // Docker's default: as much swap again
  if (host.swap_limit) set_if(memory, "swap", swap);
  // cgroup v2 knows no swappiness and no way to turn the OOM killer off.
  if (!host.cgroup_v2) {
    if (const auto swappiness = integer(hc, "MemorySwappiness"); swappiness && *swappiness >= 0)
      memory["swappiness"] = *swappiness;
    if (flag(hc, "OomKillDisable")) memory["disableOOMKiller"] = true;
  }
  return memory;
}

json cpu_of(const json& hc) {
  json cpu = json::object();
  set_if(cpu, "shares", std::max<int64_t>(0, integer_or(hc, "CpuShares", 0)));
  if (const auto nano = integer_or(hc, "NanoCpus", 0); nano > 0) {
    // https://www.kernel.org/doc/Documentation/scheduler/sched-bwc.txt
    cpu["period"] = 100000;
    cpu["quota"] = nano / 10000;
  } else {
    set_if(cpu, "period", integer_or(hc, "CpuPeriod", 0));
    const auto quota = integer_or(hc, "CpuQuota", 0);
    set_if(cpu, "quota", std::max<int64_t>(-1, quota));  // any negative one is no limit
  }
  set_if(cpu, "realtimePeriod", integer_or(hc, "CpuRealtimePeriod", 0));
  set_if(cpu, "realtimeRuntime", integer_or(hc, "CpuRealtimeRuntime", 0));
  if (auto cpus = text(hc, "CpusetCpus"); !cpus.empty()) cpu["cpus"] = std::move(cpus);
  if (auto mems = text(hc, "CpusetMems"); !mems.empty()) cpu["mems"] = std::move(mems);
  return cpu;
}

/// [{Path, Rate}] or [{Path, Weight}]; a path that is no block device is left out: create has refused it.
json block_devices(const json& hc, const char* field, const char* value, const char* as) {
  json out = json::array();
  const auto& list = member(hc, field);
  if (!list.is_array()) return out;
  for (const auto& item : list) {
    struct stat info {};
    if (stat(text(item, "Path").c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) continue;
    out.push_back({{"major", major(info.st_rdev)}, {"minor", minor(info.st_rdev)}, {as, integer_or(item, value, 0)}});
  }
  return out;
}

json block_io_of(const json& hc) {
  json io = json::object();
  set_if(io, "weight", integer_or(hc, "BlkioWeight", 0));
  const auto add = [&](const char* name, json list) {
    if (!list.empty()) io[name] = std::move(list);
  };
  add("weightDevice", block_devices(hc, "BlkioWeightDevice", "Weight", "weight"));
  add("throttleReadBpsDevice", block_devices(hc, "BlkioDeviceReadBps", "Rate", "rate"));
  add("throttleWriteBpsDevice", block_devices(hc, "BlkioDeviceWriteBps", "Rate", "rate"));
  add("throttleReadIOPSDevice", block_devices(hc, "BlkioDeviceReadIOps", "Rate", "rate"));
  add("throttleWriteIOPSDevice", block_devices(hc, "BlkioDeviceWriteIOps", "Rate", "rate"));
  return io;
}

}  // namespace

json resources_of(const json& hc, const host_limits& host) {
  json resources = json::object();
  const auto add = [&](const char* name, json part) {
    if (!part.empty()) resources[name] = std::move(part);
  };
  add("memory", memory_of(hc, host));
  add("cpu", cpu_of(hc));
  add("blockIO", block_io_of(hc));
  if (const auto pids = integer_or(hc, "PidsLimit", 0); pids > 0) resources["pids"] = {{"limit", pids}};
  return resources;
}

std::string build_resources(const nlohmann::json& host_config, const host_limits& host) {
  auto resources = resources_of(host_config, host);
  if (integer_or(host_config, "PidsLimit", 0) < 0)
    resources["pids"] = {{"limit", -1}};  // a running one may have a limit
  return to_text(resources);
}

}  // namespace arca::oci
