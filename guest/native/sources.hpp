// Detached mounts for a container's root and binds, made in the agent's mount namespace before the clone: the child's
// namespace is a new one, from which descriptors opened here cannot be bound.
#pragma once
#include <vector>

#include "guest/launcher.hpp"
#include "guest/native/plan.hpp"

namespace arca::guest::native {

/// Fills in plan.root, the trees of binds, the parts of a cgroup mount and the descriptors of joined namespaces.
result<void> open_sources(container_plan& plan, create_spec& spec);

}  // namespace arca::guest::native
