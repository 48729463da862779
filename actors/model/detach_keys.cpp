#include "actors/model/detach_keys.hpp"

#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

// moby/term.ToBytes: keys separated by commas, each one character or "ctrl-" and a-z, @, [, \, ], ^, _.
bool to_bytes(std::string_view text, std::string& out) {
  for (const auto& key : split(text, ',')) {
    if (key.size() == 1) {
      out += key;
      continue;
    }
    if (!starts_with(key, "ctrl-") || key.size() != 6) return false;
    const char c = key[5];
    if (c >= 'a' && c <= 'z')
      out += static_cast<char>(c - 'a' + 1);
    else if (c == '@')
      out += '\0';
    else if (c >= '[' && c <= '_')
      out += static_cast<char>(c - '[' + 27);
    else
      return false;
  }
  return true;
}

result<std::string> parse(std::string_view text, errc code, std::string_view what) {
  std::string out;
  if (text.empty()) return std::string(default_detach_keys);
  if (to_bytes(text, out)) return out;
  return fail(code, "Invalid " + std::string(what) + " keys (" + std::string(text) + ") provided");
}

}  // namespace

result<std::string> parse_detach_keys(std::string_view text) {
  return parse(text, errc::invalid_argument, "detach");
}
result<std::string> parse_exec_detach_keys(std::string_view text) {
  return parse(text, errc::internal, "escape");
}

}  // namespace arca::model
