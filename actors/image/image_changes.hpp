// Dockerfile instructions applied to an image config: the `changes` of import and commit.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca {
/// Applies the instructions in order to the `config` object of an image. errc::invalid_argument in Docker's words:
/// "FROBNICATE is not a valid change command".
result<void> apply_changes(nlohmann::json& config, const std::vector<std::string>& changes);
}  // namespace arca
