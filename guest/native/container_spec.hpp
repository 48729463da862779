// An OCI runtime spec 1.0 → container_plan. Pure: descriptors (root, trees of binds, namespaces) are opened later.
#pragma once
#include <nlohmann/json.hpp>

#include "guest/native/plan.hpp"
#include "persistence/base/error.hpp"

namespace arca::guest::native {

/// errc::unsupported for what would be lost silently: user namespaces, hooks, intelRdt, mount label and the like.
result<container_plan> parse_container(const nlohmann::json& spec);

}  // namespace arca::guest::native
