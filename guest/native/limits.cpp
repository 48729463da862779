#include "guest/native/limits.hpp"

#include <algorithm>

#include "persistence/base/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest::native {
namespace {
using namespace json_fields;

class writes {
 public:
  explicit writes(bool unified) : unified_(unified) {}
  void put(const char* controller, std::string file, std::string value, failed_write failure = failed_write::is_error) {
    list_.push_back({unified_ ? std::string() : controller, std::move(file), std::move(value), failure});
  }
  void put(const char* controller, const char* file, std::optional<int64_t> value) {
    if (value) put(controller, file, std::to_string(*value));
  }
  std::vector<limit_write> take() { return std::move(list_); }

 private:
  bool unified_;
  std::vector<limit_write> list_;
};

std::string or_max(int64_t value) {
  return value < 0 ? "max" : std::to_string(value);
}

std::string device_of(const json& entry) {
  return std::to_string(integer_or(entry, "major", 0)) + ':' + std::to_string(integer_or(entry, "minor", 0));
}

// Text for a file of one line must not bring more lines along.
result<void> plain(const std::string& text, const char* what) {
  if (text.find_first_of(std::string_view("\n\0", 2)) != std::string::npos || text.size() > 4096)
    return fail(errc::invalid_argument, std::string("invalid ") + what);
  return {};
}

result<void> memory_v2(const json& memory, const current_value& now, writes& to) {
  const auto limit = integer(memory, "limit");
  if (limit) to.put("memory", "memory.max", or_max(*limit));
  if (const auto swap = integer(memory, "swap")) {
    // The spec counts memory and swap together, the kernel swap alone.
    int64_t base = limit.value_or(0);
    if (!limit && *swap > 0) {
      const auto text = now("memory.max");
      if (text.empty() || starts_with(text, "max"))
        return fail(errc::invalid_argument, "cannot set swap limit without the memory limit");
      base = std::strtoll(text.c_str(), nullptr, 10);
    }
    if (*swap > 0 && (base < 0 || *swap < base))
      return fail(errc::invalid_argument, "cannot set memory+swap limit less than the memory limit");
    if (*swap != 0)
      to.put("memory", "memory.swap.max", *swap < 0 ? "max" : std::to_string(*swap - base),
             failed_write::is_fine_without_file);
  }
  if (const auto low = integer(memory, "reservation"); low && *low != 0) to.put("memory", "memory.low", or_max(*low));
  return {};
}

result<void> cpu_v2(const json& cpu, const current_value& now, writes& to) {
  if (const auto shares = integer(cpu, "shares"); shares && *shares > 0)
    to.put("cpu", "cpu.weight", std::to_string(weight_of_shares(static_cast<uint64_t>(*shares))));
  const auto quota = integer(cpu, "quota"), period = integer(cpu, "period");
  if (quota || (period && *period > 0)) {
    std::string amount = quota ? (*quota > 0 ? std::to_string(*quota) : "max") : now("cpu.max");
    amount = amount.substr(0, amount.find_first_of(" \n"));
    if (amount.empty()) amount = "max";
    if (period && *period > 0) amount += ' ' + std::to_string(*period);
    to.put("cpu", "cpu.max", std::move(amount));
  }
  for (const auto& [name, file] : {std::pair{"cpus", "cpuset.cpus"}, {"mems", "cpuset.mems"}})
    if (auto set = text(cpu, name); !set.empty()) {
      ARCA_CHECK(plain(set, file));
      to.put("cpuset", file, std::move(set));
    }
  return {};
}

void throttles(const json& io, writes& to, bool unified) {
  struct row {
    const char *field, *key, *file;
  };
  constexpr row rows[] = {{"throttleReadBpsDevice", "rbps", "blkio.throttle.read_bps_device"},
                          {"throttleWriteBpsDevice", "wbps", "blkio.throttle.write_bps_device"},
                          {"throttleReadIOPSDevice", "riops", "blkio.throttle.read_iops_device"},
                          {"throttleWriteIOPSDevice", "wiops", "blkio.throttle.write_iops_device"}};
  for (const auto& [field, key, file] : rows) {
    const auto& list = member(io, field);
    if (!list.is_array()) continue;
    for (const auto& entry : list) {
      const auto rate = integer_or(entry, "rate", 0);
      if (unified)
        to.put("", "io.max", device_of(entry) + ' ' + key + '=' + (rate == 0 ? "max" : std::to_string(rate)));
      else
        to.put("blkio", file, device_of(entry) + ' ' + std::to_string(rate));
    }
  }
}

void io_v2(const json& io, writes& to) {
  // Only the BFQ scheduler knows weights of one to a thousand; io.weight is that of the iocost controller.
  if (const auto weight = integer(io, "weight"); weight && *weight > 0) {
    to.put("", "io.bfq.weight", std::to_string(*weight), failed_write::is_fine_without_file);
    to.put("", "io.weight", "default " + std::to_string(1 + (std::max<int64_t>(*weight, 10) - 10) * 9999 / 990),
           failed_write::is_fine_without_file);
  }
  const auto& list = member(io, "weightDevice");
  if (list.is_array())
    for (const auto& entry : list)
      to.put("", "io.bfq.weight", device_of(entry) + ' ' + std::to_string(integer_or(entry, "weight", 0)));
  throttles(io, to, true);
}

void huge_pages(const json& resources, writes& to, bool unified) {
  const auto& list = member(resources, "hugepageLimits");
  if (!list.is_array()) return;
  for (const auto& entry : list) {
    const auto size = text(entry, "pageSize");
    if (size.empty() || size.find_first_of(std::string_view("/.\0", 3)) != std::string::npos) continue;
    to.put("hugetlb", "hugetlb." + size + (unified ? ".max" : ".limit_in_bytes"),
           std::to_string(integer_or(entry, "limit", 0)));
  }
}

void memory_v1(const json& memory, writes& to) {
  const auto limit = integer(memory, "limit"), swap = integer(memory, "swap");
  // The kernel keeps limit <= memory+swap: the order depends on which way both go, so the first is tried again at last.
  if (limit && *limit != 0)
    to.put("memory", "memory.limit_in_bytes", std::to_string(*limit),
           swap ? failed_write::is_fine : failed_write::is_error);
  if (swap && *swap != 0) to.put("memory", "memory.memsw.limit_in_bytes", std::to_string(*swap));
  if (limit && *limit != 0 && swap) to.put("memory", "memory.limit_in_bytes", std::to_string(*limit));
  if (const auto low = integer(memory, "reservation"); low && *low != 0)
    to.put("memory", "memory.soft_limit_in_bytes", low);
  to.put("memory", "memory.swappiness", integer(memory, "swappiness"));
  if (flag(memory, "disableOOMKiller")) to.put("memory", "memory.oom_control", std::string("1"));
}

result<void> cpu_v1(const json& cpu, writes& to) {
  if (const auto shares = integer(cpu, "shares"); shares && *shares != 0) to.put("cpu", "cpu.shares", shares);
  if (const auto period = integer(cpu, "period"); period && *period != 0) to.put("cpu", "cpu.cfs_period_us", period);
  if (const auto quota = integer(cpu, "quota"); quota && *quota != 0) to.put("cpu", "cpu.cfs_quota_us", quota);
  to.put("cpu", "cpu.rt_period_us", integer(cpu, "realtimePeriod"));
  to.put("cpu", "cpu.rt_runtime_us", integer(cpu, "realtimeRuntime"));
  for (const auto& [name, file] : {std::pair{"cpus", "cpuset.cpus"}, {"mems", "cpuset.mems"}})
    if (auto set = text(cpu, name); !set.empty()) {
      ARCA_CHECK(plain(set, file));
      to.put("cpuset", file, std::move(set));
    }
  return {};
}

}  // namespace

uint64_t weight_of_shares(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + (shares - 2) * 9999 / 262142;
}

result<std::vector<limit_write>> unified_limits(const json& resources, const current_value& now) {
  writes to(true);
  ARCA_CHECK(memory_v2(member(resources, "memory"), now, to));
  ARCA_CHECK(cpu_v2(member(resources, "cpu"), now, to));
  if (const auto pids = integer(member(resources, "pids"), "limit"))
    to.put("pids", "pids.max", *pids <= 0 ? "max" : std::to_string(*pids));
  io_v2(member(resources, "blockIO"), to);
  huge_pages(resources, to, true);
  for (const auto& [file, value] : text_map(resources, "unified")) {
    if (file.empty() || file.find_first_of(std::string_view("/\0", 2)) != std::string::npos ||
        starts_with(file, "cgroup."))
      return fail(errc::invalid_argument, "invalid file " + go_quote(file) + " in resources.unified");
    to.put("", file, value);
  }
  return to.take();
}

result<std::vector<limit_write>> legacy_limits(const json& resources) {
  writes to(false);
  memory_v1(member(resources, "memory"), to);
  ARCA_CHECK(cpu_v1(member(resources, "cpu"), to));
  if (const auto pids = integer(member(resources, "pids"), "limit"))
    to.put("pids", "pids.max", *pids <= 0 ? "max" : std::to_string(*pids));
  const auto& io = member(resources, "blockIO");
  if (const auto weight = integer(io, "weight"); weight && *weight > 0)
    to.put("blkio", "blkio.bfq.weight", std::to_string(*weight), failed_write::is_fine_without_file);
  throttles(io, to, false);
  huge_pages(resources, to, false);
  return to.take();
}

}  // namespace arca::guest::native
