// Test help: compares an answer with a golden template (placeholders {{…}} and ${…}, see tests/reference/README.md).
#pragma once
#include <map>
#include <string>
#include <vector>

#include "actors/model/go_json.hpp"

namespace arca::model::golden {

using variables = std::map<std::string, std::string>;

/// ${name}, ${name:12} and ${name_hex} replaced where the variable is known.
std::string substitute(const std::string& text, const variables& known);
json substitute(const json& value, const variables& known);

/// What differs, "" for a match. Extra keys count.
std::string difference(const json& expected, const json& actual, const variables& known, const std::string& path = "");

}  // namespace arca::model::golden
