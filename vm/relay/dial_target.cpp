#include "vm/relay/dial_target.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {

bool is_numeric(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

result<void> parse_host_port(const std::string& text, agent_tunnel& into) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return fail(errc::invalid_argument, "no port in " + go_quote(text));
  auto host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  if (!is_numeric(host))
    return fail(errc::invalid_argument, go_quote(host) + " is no numeric address: names are not looked up");
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data() + colon + 1, end, port);
  if (problem != std::errc() || rest != end || port == 0)
    return fail(errc::invalid_argument, "invalid port " + go_quote(text.substr(colon + 1)));
  into.host = std::move(host);
  into.port = port;
  return {};
}

}  // namespace

result<agent_tunnel> parse_dial_target(const std::string& text) {
  agent_tunnel out;
  const auto colon = text.find(':');
  const auto kind = text.substr(0, colon);
  const auto where = colon == std::string::npos ? std::string() : text.substr(colon + 1);
  if (kind == "unix") {
    if (where.empty() || where.front() != '/')
      return fail(errc::invalid_argument, go_quote(where) + " is no absolute path of a socket");
    out.to = agent_tunnel::kind::unix_socket;
    out.path = where;
    return out;
  }
  if (kind != "tcp" && kind != "udp")
    return fail(errc::invalid_argument,
                "invalid address " + go_quote(text) + ": tcp:HOST:PORT, udp:HOST:PORT or unix:PATH");
  out.to = kind == "tcp" ? agent_tunnel::kind::tcp : agent_tunnel::kind::udp;
  ARCA_CHECK(parse_host_port(where, out));
  return out;
}

}  // namespace arca::vm
