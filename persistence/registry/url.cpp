#include "persistence/registry/url.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "persistence/base/text.hpp"

namespace arca::registry {
namespace {
bool valid_host(std::string_view host) {
  return !host.empty() && host.size() < 256 && std::all_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == ':';
  });
}
bool valid_port(std::string_view port) {
  if (port.empty() || port.size() > 5) return false;
  unsigned value = 0;
  for (const char c : port) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  return value > 0 && value < 65536;
}
// Nothing that could end the request line or the header.
bool valid_target(std::string_view target) {
  return std::all_of(target.begin(), target.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

reach reach_of_v4(uint32_t a) noexcept {
  const auto in = [a](uint32_t net, int bits) { return (a >> (32 - bits)) == (net >> (32 - bits)); };
  if (in(0x7f000000, 8)) return reach::loopback;
  if (in(0xa9fe0000, 16)) return reach::link_local;
  if (in(0x0a000000, 8) || in(0xac100000, 12) || in(0xc0a80000, 16) || in(0x64400000, 10))
    return reach::private_network;
  if (in(0, 8) || in(0xe0000000, 4) || in(0xf0000000, 4)) return reach::none;
  return reach::global;
}
}  // namespace

std::string url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : '[' + host + ']';
  return explicit_port ? name + ':' + port : name;
}

bool url::same_origin(const url& other) const {
  return scheme == other.scheme && lower(host) == lower(other.host) && port == other.port;
}

std::string url::string() const {
  return scheme + "://" + authority() + target;
}

result<url> parse_url(std::string_view text) {
  const auto bad = [text] { return fail(errc::invalid_argument, "invalid URL " + go_quote(text)); };
  url out;
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return bad();
  out.scheme = lower(text.substr(0, colon));
  if (out.scheme != "http" && out.scheme != "https")
    return fail(errc::invalid_argument, "unsupported protocol scheme " + go_quote(out.scheme));
  text.remove_prefix(colon + 3);
  const auto path = text.find_first_of("/?#");
  auto authority = text.substr(0, path);
  if (authority.find('@') != std::string_view::npos) return bad();
  std::string_view rest = path == std::string_view::npos ? std::string_view() : text.substr(path);
  rest = rest.substr(0, rest.find('#'));
  out.target = rest.empty() || rest[0] != '/' ? "/" + std::string(rest) : std::string(rest);
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return bad();
    out.host = authority.substr(1, end - 1);
    authority.remove_prefix(end + 1);
    if (!authority.empty()) {
      if (authority[0] != ':') return bad();
      port = authority.substr(1);
      has_port = true;
    }
  } else {
    const auto at = authority.find(':');
    out.host = authority.substr(0, at);
    if (at != std::string_view::npos) {
      port = authority.substr(at + 1);
      has_port = true;
    }
    if (out.host.find(':') != std::string::npos) return bad();
  }
  if (!valid_host(out.host) || (has_port && !valid_port(port)) || !valid_target(out.target)) return bad();
  out.explicit_port = has_port;
  out.port = has_port ? std::string(port) : out.scheme == "https" ? "443" : "80";
  return out;
}

result<url> resolve_url(const url& base, std::string_view location) {
  if (location.find("://") != std::string_view::npos && location.find("://") < location.find_first_of("/?#"))
    return parse_url(location);
  // A scheme without "//" ("file:x", "javascript:…") is no place to go.
  const auto colon = location.find(':');
  if (colon != std::string_view::npos && colon < location.find_first_of("/?#")) return parse_url(location);
  if (location.starts_with("//")) return parse_url(base.scheme + ':' + std::string(location));
  url out = base;
  const auto path_end = base.target.find('?');
  const auto base_path = base.target.substr(0, path_end);
  location = location.substr(0, location.find('#'));
  if (location.starts_with('/'))
    out.target = location;
  else if (location.starts_with('?') || location.empty())
    out.target = base_path + std::string(location);
  else
    out.target = base_path.substr(0, base_path.rfind('/') + 1) + std::string(location);
  if (!valid_target(out.target)) return fail(errc::invalid_argument, "invalid URL " + go_quote(location));
  return out;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char ch : text) {
    const auto c = static_cast<unsigned char>(ch);
    if (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += ch;
    } else {
      const auto hex = to_hex(&c, 1);
      out += '%';
      for (const char h : hex) out += static_cast<char>(std::toupper(static_cast<unsigned char>(h)));
    }
  }
  return out;
}

reach reach_of(const sockaddr* address) noexcept {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return reach_of_v4(ntohl(in.sin_addr.s_addr));
  }
  if (address->sa_family != AF_INET6) return reach::none;
  sockaddr_in6 in{};
  std::memcpy(&in, address, sizeof in);
  const auto* b = in.sin6_addr.s6_addr;
  if (IN6_IS_ADDR_LOOPBACK(&in.sin6_addr)) return reach::loopback;
  if (IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr) || b[0] == 0xff) return reach::none;
  if (IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr)) return reach::link_local;
  // v4-mapped, NAT64 and 6to4 carry a v4 address: what counts is where that leads.
  const auto v4 = [b](int at) {
    return uint32_t{b[at]} << 24 | uint32_t{b[at + 1]} << 16 | uint32_t{b[at + 2]} << 8 | b[at + 3];
  };
  if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) return reach_of_v4(v4(12));
  if (b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b) return reach_of_v4(v4(12));
  if (b[0] == 0x20 && b[1] == 0x02) return reach_of_v4(v4(2));
  if ((b[0] & 0xfe) == 0xfc || IN6_IS_ADDR_SITELOCAL(&in.sin6_addr)) return reach::private_network;
  return reach::global;
}

std::string address_text(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    ::inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
    return std::string(text.data()) + ':' + std::to_string(ntohs(in.sin_port));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
    return '[' + std::string(text.data()) + "]:" + std::to_string(ntohs(in.sin6_port));
  }
  return "?";
}

bool is_loopback_name(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  in_addr a{};
  return ::inet_pton(AF_INET, host.c_str(), &a) == 1 && (ntohl(a.s_addr) >> 24) == 127;
}

}  // namespace arca::registry
