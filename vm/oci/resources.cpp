// HostConfig's limits → linux.resources.
#include "vm/oci/resources.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "persistence/base/text.hpp"
#include "vm/oci/spec.hpp"

namespace arca::oci {
namespace {

constexpr const char* cgroup_refused =
    "unable to start container process: error during container init: error setting cgroup config for procHooks "
    "process: ";

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

struct device_limit {
  const char *field, *value;      ///< HostConfig's
  const char *part, *part_value;  ///< of linux.resources.blockIO
  const char* file;               ///< of the cgroup (version 1), for runc's words
};
constexpr device_limit device_limits[] = {
    {"BlkioWeightDevice", "Weight", "weightDevice", "weight", "weight_device"},
    {"BlkioDeviceReadBps", "Rate", "throttleReadBpsDevice", "rate", "throttle.read_bps_device"},
    {"BlkioDeviceWriteBps", "Rate", "throttleWriteBpsDevice", "rate", "throttle.write_bps_device"},
    {"BlkioDeviceReadIOps", "Rate", "throttleReadIOPSDevice", "rate", "throttle.read_iops_device"},
    {"BlkioDeviceWriteIOps", "Rate", "throttleWriteIOPSDevice", "rate", "throttle.write_iops_device"}};

/// [{Path, Rate}] or [{Path, Weight}]; check_limits has refused a path that is no block device.
json block_devices(const json& hc, const device_limit& limit) {
  json out = json::array();
  const auto& list = member(hc, limit.field);
  if (!list.is_array()) return out;
  for (const auto& item : list) {
    struct stat info {};
    if (stat(text(item, "Path").c_str(), &info) != 0 || !S_ISBLK(info.st_mode)) continue;
    out.push_back({{"major", major(info.st_rdev)},
                   {"minor", minor(info.st_rdev)},
                   {limit.part_value, integer_or(item, limit.value, 0)}});
  }
  return out;
}

json block_io_of(const json& hc) {
  json io = json::object();
  set_if(io, "weight", integer_or(hc, "BlkioWeight", 0));
  for (const auto& limit : device_limits)
    if (auto list = block_devices(hc, limit); !list.empty()) io[limit.part] = std::move(list);
  return io;
}

result<void> check_devices(const json& hc, const device_limit& limit) {
  const auto& list = member(hc, limit.field);
  if (!list.is_array()) return {};
  for (const auto& item : list) {
    const auto path = text(item, "Path");
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) return fail(errc::internal, "stat " + path + ": " + lower(strerror(errno)));
    if (S_ISBLK(info.st_mode)) continue;
    const auto line = std::to_string(major(info.st_rdev)) + ':' + std::to_string(minor(info.st_rdev)) + ' ' +
                      std::to_string(integer_or(item, limit.value, 0));
    return fail(errc::internal, create_failed + (std::string(cgroup_refused) + "failed to write " + go_quote(line)) +
                                    ": write blkio." + limit.file + ": no such device");
  }
  return {};
}

}  // namespace

result<void> check_limits(const json& hc) {
  ARCA_CHECK(check_cpu_shares(hc).map_error(
      [](const error& why) { return error(why.code(), create_failed + (cgroup_refused + why.message())); }));
  for (const auto& limit : device_limits) ARCA_CHECK(check_devices(hc, limit));
  return {};
}

result<void> check_cpu_shares(const json& hc) {
  // The kernel brings what is out of range into it; runc notices.
  const auto shares = integer_or(hc, "CpuShares", 0);
  if (shares == 1) return fail(errc::internal, "the minimum allowed cpu-shares is 2");
  if (shares < 0 || shares > 262144) return fail(errc::internal, "the maximum allowed cpu-shares is 262144");
  return {};
}

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
