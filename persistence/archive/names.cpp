#include "persistence/archive/names.hpp"

#include "persistence/base/text.hpp"

namespace arca::archive {

result<std::vector<std::string_view>> split_name(std::string_view name, size_t max_depth) {
  if (name.size() > 4095) return fail(bad_archive, "archive: name of more than 4095 bytes");
  if (name.find('\0') != std::string_view::npos) return fail(bad_archive, "archive: name with a NUL byte");
  const bool absolute = !name.empty() && name.front() == '/';
  std::vector<std::string_view> parts;
  for (std::string_view rest = name; !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty())
        parts.pop_back();
      else if (!absolute)
        return fail(bad_archive, "invalid entry name " + go_quote(name));
      continue;
    }
    parts.push_back(part);
  }
  if (parts.size() > max_depth) return fail(bad_archive, "archive: " + go_quote(name) + " is nested too deep");
  return parts;
}

std::string join(const std::vector<std::string_view>& components) {
  std::string out;
  for (const auto part : components) {
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

}  // namespace arca::archive
