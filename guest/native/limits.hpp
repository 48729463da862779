// linux.resources of an OCI runtime spec → what is written to which file of a cgroup. Pure.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::guest::native {

enum class failed_write : uint8_t { is_error, is_fine_without_file, is_fine };

struct limit_write {
  std::string controller;  ///< name of the v1 hierarchy; empty on v2
  std::string file, value;
  failed_write failure = failed_write::is_error;
};

/// What a file of the cgroup says now; for a limit that the kernel keeps together with one that is not given.
using current_value = std::function<std::string(const std::string& file)>;

/// cgroup v2. What it does not know (swappiness, the OOM switch, kernel memory, realtime) is left out. Devices:
/// device_rules.hpp.
result<std::vector<limit_write>> unified_limits(const nlohmann::json& resources, const current_value& now);
/// cgroup v1.
result<std::vector<limit_write>> legacy_limits(const nlohmann::json& resources);

/// cpu.shares (2…262144) → cpu.weight (1…10000), as crun and runc.
uint64_t weight_of_shares(uint64_t shares);

}  // namespace arca::guest::native
