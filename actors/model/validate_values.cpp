#include <arpa/inet.h>

#include <algorithm>

#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {

const std::string& text_of(const json& from, const char* key) {
  static const std::string none;
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get_ref<const std::string&>() : none;
}

int64_t number_of(const json& from, const char* key) {
  const auto found = from.find(key);
  if (found == from.end() || !found->is_number_integer()) return 0;
  if (found->is_number_unsigned()) return static_cast<int64_t>(std::min<uint64_t>(found->get<uint64_t>(), INT64_MAX));
  return found->get<int64_t>();
}

bool flag_of(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_boolean() && found->get<bool>();
}

const json& list_of(const json& from, const char* key) {
  static const json none = json::array();
  const auto found = from.find(key);
  return found != from.end() && found->is_array() ? *found : none;
}

const json& object_of(const json& from, const char* key) {
  static const json none = json::object();
  const auto found = from.find(key);
  return found != from.end() && found->is_object() ? *found : none;
}

bool is_null(const json& from, const char* key) {
  const auto found = from.find(key);
  return found == from.end() || found->is_null();
}

bool names_container(std::string_view mode, std::string& container) {
  if (!starts_with(mode, "container:")) return false;
  container = mode.substr(10);
  return true;
}

bool is_user_defined(std::string_view mode) {
  return mode != "default" && mode != "bridge" && mode != "host" && mode != "none" && !starts_with(mode, "container:");
}

std::string network_name_of(std::string_view mode) {
  if (mode.empty() || mode == "default") return "bridge";
  return starts_with(mode, "container:") ? std::string() : std::string(mode);
}

bool is_ip4(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_ip6(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// net.ParseMAC: 6, 8 or 20 bytes, separated by ":" or "-", or pairs of bytes by ".".
bool is_mac(std::string_view text) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); };
  if (text.size() < 14) return false;
  const char separator = text[2] == ':' || text[2] == '-' ? text[2] : text[4] == '.' ? '.' : '\0';
  if (separator == '\0') return false;
  const size_t width = separator == '.' ? 4 : 2;
  const auto parts = split(text, separator);
  const auto bytes = parts.size() * width / 2;
  return (bytes == 6 || bytes == 8 || bytes == 20) &&
         std::all_of(parts.begin(), parts.end(),
                     [&](const std::string& p) { return p.size() == width && std::all_of(p.begin(), p.end(), hex); });
}

// containerd's platforms.Parse
result<void> check_platform_specifier(std::string_view text) {
  const auto parts = split(text, '/');
  const auto word = [](const std::string& part) {
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
             c == '.';
    });
  };
  if (text.find('*') != std::string_view::npos)
    return refuse(go_quote(text) + ": wildcards not yet supported: invalid argument");
  for (const auto& part : parts)
    if (!word(part))
      return refuse(go_quote(part) + " is an invalid component of " + go_quote(text) +
                    ": platform specifier component must match \"^[A-Za-z0-9_-]+$\": invalid argument");
  if (parts.size() == 1) {
    static constexpr std::string_view known[] = {
        "linux", "windows", "darwin", "freebsd", "amd64", "x86_64",  "arm64",   "aarch64",  "arm",   "armhf",
        "armel", "386",     "i386",   "ppc64le", "s390x", "riscv64", "loong64", "mips64le", "mips64"};
    if (std::find(std::begin(known), std::end(known), lower(parts[0])) == std::end(known))
      return refuse(go_quote(text) + ": unknown operating system or architecture: invalid argument");
  }
  if (parts.size() > 3) return refuse(go_quote(text) + ": cannot parse platform specifier: invalid argument");
  return {};
}

}  // namespace arca::model
