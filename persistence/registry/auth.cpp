#include "persistence/registry/auth.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"

namespace arca::registry {
namespace {
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) out += alphabet[bits >> (count - 6) & 63];
  }
  if (count > 0) out += alphabet[bits << (6 - count) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

// One token of RFC 9110.
size_t token_end(std::string_view text, size_t at) {
  while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) != 0 ||
                              std::string_view("!#$%&'*+-.^_`|~/").find(text[at]) != std::string_view::npos))
    ++at;
  return at;
}
size_t skip(std::string_view text, size_t at, std::string_view what) {
  while (at < text.size() && what.find(text[at]) != std::string_view::npos) ++at;
  return at;
}

void parse_header(std::string_view text, std::vector<challenge>& out) {
  size_t at = 0;
  while (true) {
    at = skip(text, at, " \t,");
    const auto end = token_end(text, at);
    if (end == at) return;
    challenge c;
    c.scheme = lower(text.substr(at, end - at));
    at = skip(text, end, " \t");
    for (;;) {  // name=value pairs; a token without "=" begins the next challenge
      const auto name_at = skip(text, at, " \t,");
      const auto name_end = token_end(text, name_at);
      const auto equals = skip(text, name_end, " \t");
      if (name_end == name_at || equals >= text.size() || text[equals] != '=') {
        at = name_at;
        break;
      }
      at = skip(text, equals + 1, " \t");
      std::string value;
      if (at < text.size() && text[at] == '"') {
        for (++at; at < text.size() && text[at] != '"'; ++at) {
          if (text[at] == '\\' && at + 1 < text.size()) ++at;
          value += text[at];
        }
        ++at;
      } else {
        const auto value_end = token_end(text, at);
        value = text.substr(at, value_end - at);
        at = value_end;
      }
      c.parameters[lower(text.substr(name_at, name_end - name_at))] = value;
      if (at >= text.size()) break;
    }
    out.push_back(std::move(c));
    if (at >= text.size()) return;
  }
}

// "https://index.docker.io/v1/" → "docker.io"
std::string registry_of(std::string_view address) {
  if (const auto scheme = address.find("://"); scheme != std::string_view::npos) address.remove_prefix(scheme + 3);
  auto host = lower(address.substr(0, address.find('/')));
  if (host == "index.docker.io" || host == "registry-1.docker.io") return "docker.io";
  return host;
}
}  // namespace

credentials parse_credentials(const std::string& json_text) {
  credentials out;
  const auto document = nlohmann::json::parse(json_text, nullptr, false);
  if (!document.is_object()) return out;
  const auto text = [&](const char* key) {
    const auto found = document.find(key);
    return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  out.username = text("username");
  out.password = text("password");
  out.identity_token = text("identitytoken");
  out.registry_token = text("registrytoken");
  out.server_address = text("serveraddress");
  // A line break here would be a header of the caller's choice.
  for (const auto* s : {&out.registry_token, &out.identity_token})
    if (s->find_first_of("\r\n") != std::string::npos) return {};
  return out;
}

bool meant_for(const credentials& c, const std::string& domain) {
  return c.server_address.empty() || registry_of(c.server_address) == registry_of(domain);
}

std::vector<challenge> parse_challenges(const std::vector<std::string>& headers) {
  std::vector<challenge> out;
  for (const auto& h : headers) parse_header(h, out);
  return out;
}

std::string basic_header(const credentials& c) {
  return "Basic " + base64(c.username + ':' + c.password);
}

}  // namespace arca::registry
