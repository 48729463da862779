// Go's path.Match: shell patterns of which "*" and "?" do not match "/". Used by the reference filter.
#pragma once
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca {
/// errc::internal "syntax error in pattern".
result<bool> path_match(std::string_view pattern, std::string_view name);
}  // namespace arca
