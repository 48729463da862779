// linux.resources without its device rules, which are part of the devices (spec.cpp).
#pragma once
#include "persistence/base/error.hpp"
#include "vm/oci/host.hpp"
#include "vm/oci/json_access.hpp"

namespace arca::oci {
/// What runc refuses of them at a start, in its words: CPU shares out of range, limits of what is no block device.
result<void> check_limits(const json& host_config);
json resources_of(const json& host_config, const host_limits& host);
}  // namespace arca::oci
