// Takes away what an entry replaces: relative to descriptors, never following a link.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "persistence/archive/stream.hpp"

struct stat;

namespace arca::archive {

/// Called for everything that is not a folder, before it is removed; may rename it away.
using removal_observer =
    std::function<result<void>(int parent, const std::string& name, std::string_view path, const struct stat&)>;

/// Removes `name` in `parent` with all below it. `path` is what the observer is told. A mount point is an error
/// (EBUSY).
result<void> remove_below(int parent, const std::string& name, std::string_view path, const removal_observer& observer);

}  // namespace arca::archive
