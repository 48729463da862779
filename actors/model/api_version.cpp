#include "actors/model/api_version.hpp"

#include <charconv>

namespace arca::model {

api_version api_version::parse(std::string_view text) {
  if (!text.empty() && text.front() == 'v') text.remove_prefix(1);
  api_version out;
  if (text.substr(0, 2) != "1.") return out;
  int minor = 0;
  const auto [p, error] = std::from_chars(text.data() + 2, text.data() + text.size(), minor);
  if (error == std::errc() && p == text.data() + text.size() && minor >= 0) out.minor = minor;
  return out;
}

}  // namespace arca::model
