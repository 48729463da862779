// POST /containers/{id}/update.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/api_version.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/host_facts.hpp"

namespace arca::model {

/// Decodes and validates what is wrong whatever the container is. The answer has the fields of Resources and
/// RestartPolicy, and Warnings.
result<json> decode_update(std::string_view body, api_version version, const host_facts& host = this_host());

/// The new HostConfig, or Docker's refusal (errc::invalid_argument, errc::conflict). `running`: some limits can only be set while stopped.
result<json> apply_update(const json& host_config, const json& update, bool running, bool removing = false);

}  // namespace arca::model
