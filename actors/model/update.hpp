// POST /containers/{id}/update.
#pragma once
#include <string>
#include <string_view>

#include "actors/model/api_version.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/host_facts.hpp"

namespace arca::model {

/// Decodes and validates what is wrong whatever the container is (400). The answer has the fields of Resources,
/// RestartPolicy, and Warnings (list of strings).
result<json> decode_update(std::string_view body, api_version version, const host_facts& host = this_host());

/// The new HostConfig, or Docker's refusal (errc::conflict), to be wrapped with "Cannot update container ID".
result<json> apply_update(const json& host_config, const json& update, bool running, bool removing = false);

}  // namespace arca::model
