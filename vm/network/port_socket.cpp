#include "vm/network/port_socket.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "persistence/base/fs.hpp"

namespace arca::net {
namespace {
struct socket_address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

bool fill(const port_address& at, socket_address& out) {
  auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
  if (inet_pton(AF_INET, at.ip.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(at.port);
    out.size = sizeof v4;
    return true;
  }
  out.storage = {};
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
  if (inet_pton(AF_INET6, at.ip.c_str(), &v6.sin6_addr) != 1) return false;
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(at.port);
  out.size = sizeof v6;
  return true;
}
}  // namespace

tl::expected<unique_fd, int> bind_port(const port_address& at) {
  socket_address address;
  if (!fill(at, address)) return tl::unexpected<int>(EINVAL);
  const int family = address.storage.ss_family;
  const bool datagrams = at.protocol == "udp";
  unique_fd fd(::socket(family, (datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                        at.protocol == "sctp" ? IPPROTO_SCTP : 0));
  if (!fd) return tl::unexpected<int>(errno);
  const int on = 1;
  // A port whose last connections are in TIME_WAIT is free; SO_REUSEADDR on UDP would share the port.
  if (!datagrams) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0)
    return tl::unexpected<int>(errno);
  if (!datagrams && ::listen(fd.get(), SOMAXCONN) != 0) return tl::unexpected<int>(errno);
  return fd;
}

port_range ephemeral_ports() {
  port_range range;
  const auto text = fs::read_file("/proc/sys/net/ipv4/ip_local_port_range", 64);
  unsigned first = 0, last = 0;
  if (text && std::sscanf(text->c_str(), "%u %u", &first, &last) == 2 && first != 0 && first <= last && last <= 65535)
    range = {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
  return range;
}

}  // namespace arca::net
