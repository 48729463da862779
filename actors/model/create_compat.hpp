// What create means for older API versions: fields that they did not have are ignored, old ones are moved.
#pragma once
#include "actors/model/validation.hpp"

namespace arca::model {

/// "default" and no network mode are "bridge", in EndpointsConfig too.
void name_default_network(json& request);
/// Applies the rules of `version` to Config, HostConfig and NetworkingConfig; may refuse (400).
result<void> apply_version(json& request, api_version version, const host_facts& host, warning_list& warnings);

}  // namespace arca::model
