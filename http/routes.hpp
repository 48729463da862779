// The route table.
#pragma once
#include <span>

#include "http/router.hpp"

namespace arca::http {
std::span<const route> all_routes();
}  // namespace arca::http
