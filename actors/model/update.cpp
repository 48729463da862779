#include "actors/model/update.hpp"

#include "actors/model/go_schema.hpp"
#include "actors/model/validation.hpp"

namespace arca::model {

result<json> decode_update(std::string_view body, api_version version, const host_facts& host) {
  ARCA_TRY(update, go::decode(body, go::update_config));
  if (version.before(40)) update["PidsLimit"] = nullptr;
  if (!version.before(42)) update["KernelMemory"] = 0;
  if (!is_null(update, "PidsLimit") && number_of(update, "PidsLimit") <= 0) update["PidsLimit"] = 0;  // 0: no limit
  ARCA_CHECK(check_restart_policy(object_of(update, "RestartPolicy")));
  warning_list warnings;
  ARCA_CHECK(check_resources(update, host, true, warnings));
  update["Warnings"] = warnings;
  return std::move(update);
}

result<json> apply_update(const json& host_config, const json& update, bool running, bool removing) {
  const auto conflict = [](const char* text) { return fail(errc::conflict, text); };
  if (removing) return conflict("container is marked for removal and cannot be \"update\"");
  const auto asked = [&](const char* key) { return number_of(update, key); };
  const auto has = [&](const char* key) { return number_of(host_config, key); };
  if (asked("NanoCpus") > 0 && has("CpuPeriod") > 0)
    return conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set");
  if (asked("NanoCpus") > 0 && has("CpuQuota") > 0)
    return conflict("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set");
  if (asked("CpuPeriod") > 0 && has("NanoCpus") > 0)
    return conflict("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
  if (asked("CpuQuota") > 0 && has("NanoCpus") > 0)
    return conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
  if (asked("Memory") != 0 && asked("Memory") > has("MemorySwap") && asked("MemorySwap") == 0)
    return conflict(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
  if (running && asked("KernelMemory") != 0)
    return conflict("Can not update kernel memory to a running container, please stop it first.");

  json out = host_config;
  for (const char* key : {"BlkioWeight", "CpuShares", "NanoCpus", "CpuPeriod", "CpuQuota", "Memory", "MemorySwap",
                          "MemoryReservation", "KernelMemory", "CpuRealtimePeriod", "CpuRealtimeRuntime"})
    if (asked(key) != 0) out[key] = update[key];
  for (const char* key : {"CpusetCpus", "CpusetMems"})
    if (!text_of(update, key).empty()) out[key] = update[key];
  if (!is_null(update, "PidsLimit")) out["PidsLimit"] = update["PidsLimit"];

  const auto& policy = object_of(update, "RestartPolicy");
  if (const auto& name = text_of(policy, "Name"); !name.empty()) {
    if (flag_of(host_config, "AutoRemove") && name != "no")
      return conflict("Restart policy cannot be updated because AutoRemove is enabled for the container");
    out["RestartPolicy"] = policy;
  }
  return out;
}

}  // namespace arca::model
