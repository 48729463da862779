// What a container finds in /dev. For the child: no heap.
#pragma once
#include "guest/native/plan.hpp"
#include "guest/native/problem.hpp"

namespace arca::guest::native {

/// Nodes of `plan`, and unless /dev is a bind mount the links that every /dev has.
bool make_devices(const container_plan& plan, problem& why);

}  // namespace arca::guest::native
