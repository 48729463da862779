// linux.resources without its device rules, which are part of the devices (spec.cpp).
#pragma once
#include "vm/oci/host.hpp"
#include "vm/oci/json_access.hpp"

namespace arca::oci {
json resources_of(const json& host_config, const host_limits& host);
}  // namespace arca::oci
