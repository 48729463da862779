#include "vm/guest_image/package_fields.hpp"

#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {
std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}
}  // namespace

package_fields::package_fields(std::string_view text) {
  for (const auto& line : split(text, '\n')) {
    if (trimmed(line).empty()) {
      if (fields_.empty()) continue;
      break;  // the next paragraph is another package's
    }
    const auto colon = line.find(':');
    if (line.front() == ' ' || line.front() == '\t' || colon == std::string::npos) continue;
    fields_.emplace(line.substr(0, colon), trimmed(std::string_view(line).substr(colon + 1)));
  }
}

std::string package_fields::operator[](const std::string& name) const {
  const auto found = fields_.find(name);
  return found == fields_.end() ? std::string() : found->second;
}

std::optional<package_id> exact_dependency(std::string_view depends, std::string_view prefix) {
  std::optional<package_id> out;
  for (const auto& part : split(depends, ',')) {
    const std::string text = trimmed(part);
    if (!starts_with(text, prefix)) continue;
    const auto bound = text.find(" (= ");
    if (out || bound == std::string::npos || !ends_with(text, ")")) return std::nullopt;
    out = package_id{text.substr(0, bound), text.substr(bound + 4, text.size() - bound - 5), {}};
  }
  return out;
}

}  // namespace arca::vm
