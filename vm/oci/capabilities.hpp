// Capability sets as Docker computes them.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::oci {

/// "CAP_CHOWN" … in numeric order of the kernel.
const std::vector<std::string>& all_capabilities();
/// The fourteen that a container has without options.
const std::vector<std::string>& default_capabilities();
/// Default set, --cap-add and --cap-drop ("ALL", with or without "CAP_"), or everything when privileged; never more
/// than `bounding` (bit n: capability n).
result<std::vector<std::string>> effective_capabilities(const nlohmann::json& host_config, uint64_t bounding);

}  // namespace arca::oci
