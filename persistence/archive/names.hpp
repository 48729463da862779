// Names inside archives, cleaned the way Docker (Go's filepath.Clean) does it: they are bytes, "/" separates.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "persistence/archive/stream.hpp"

namespace arca::archive {

/// Components of a cleaned name (views into `name`); empty for the root. "." and empty ones are dropped, ".." takes the
/// one before away; a leading "/" is cut ("/../x" is "x"). bad_archive: a relative name that climbs above the root, a
/// NUL, more than `max_depth` components, or more than 4095 bytes.
result<std::vector<std::string_view>> split_name(std::string_view name, size_t max_depth);

std::string join(const std::vector<std::string_view>& components);

}  // namespace arca::archive
