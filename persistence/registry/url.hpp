// The few kinds of URL that a registry client meets: http and https, absolute or relative to another.
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

struct sockaddr;

namespace arca::registry {

struct url {
  std::string scheme;  ///< "http" or "https"
  std::string host;    ///< as written, IPv6 without brackets
  std::string port;    ///< always given: "80", "443", …
  bool explicit_port = false;
  std::string target;  ///< path and query, begins with "/"

  std::string authority() const;  ///< "host:port" as in a Host header, port only when it was written
  std::string string() const;
  bool same_origin(const url& other) const;
};

/// errc::invalid_argument for another scheme, user names in it, or a malformed host or port.
result<url> parse_url(std::string_view text);
/// A Location header's value relative to the URL that was asked.
result<url> resolve_url(const url& base, std::string_view location);
/// For query values.
std::string percent_encode(std::string_view text);

/// How far away an address is, for the rules against forged redirects.
enum class reach : uint8_t { global, private_network, loopback, link_local, none };
reach reach_of(const sockaddr* address) noexcept;
/// "127.0.0.1:80" or "[::1]:80".
std::string address_text(const sockaddr* address);
/// "localhost", 127.0.0.0/8 or ::1: insecure by default, as in Docker.
bool is_loopback_name(const std::string& host);

}  // namespace arca::registry
