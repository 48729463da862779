// The container's root as it will see it, made in its own mount namespace. For the child: no heap.
#pragma once
#include "guest/native/plan.hpp"
#include "guest/native/problem.hpp"

namespace arca::guest::native {

/// Mounts the root, all mounts in it, devices, masked and read-only paths. The root becomes not yet the process's own.
/// Keeps descriptors of mounts in `plan` that seal_root needs.
bool build_root(container_plan& plan, problem& why);
/// Read-only mounts and root, then pivot_root: nothing of the machine's file systems can be reached afterwards.
bool seal_root(container_plan& plan, problem& why);

/// Attaches `tree` at `path` below the root. `source` is for the words of an error only.
bool attach_tree(int root, int tree, bool folder, std::string_view path, std::string_view source, problem& why);

}  // namespace arca::guest::native
