// The `process` object of an OCI runtime spec → process_plan.
#pragma once
#include <nlohmann/json.hpp>

#include "guest/launcher.hpp"
#include "guest/native/plan.hpp"
#include "persistence/base/error.hpp"

namespace arca::guest::native {

/// errc::invalid_argument for what is no process, or in crun's words ("executable path not specified").
result<process_plan> parse_process(const nlohmann::json& process);
/// `rest`: the other members, or no object.
result<process_plan> plan_process(plain_process plain, const nlohmann::json& rest);

/// Where argv[0] is looked for: itself when it has a slash, else below each folder of $PATH of `env`.
std::vector<std::string> executable_candidates(const std::string& name, const std::vector<std::string>& env);

/// The bit mask of capability names ("CAP_CHOWN"); names that this kernel's libcap does not know are passed over.
uint64_t capability_mask(const std::vector<std::string>& names);

}  // namespace arca::guest::native
