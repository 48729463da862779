// For tests: throw-away network namespaces. The test program moves itself into one first thing in main().
#pragma once
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "persistence/base/unique_fd.hpp"
#include "vm/network/links.hpp"
#include "vm/network/rtnetlink.hpp"

namespace arca::net::testing {

inline unique_fd current_netns() {
  return unique_fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

/// Runs `work` with the calling thread inside the namespace.
template <class Work>
auto inside(const unique_fd& netns, Work work) {
  struct back {
    unique_fd home = current_netns();
    ~back() {
      if (setns(home.get(), CLONE_NEWNET) != 0) std::abort();
    }
  } guard;
  if (setns(netns.get(), CLONE_NEWNET) != 0) std::abort();
  return work();
}

inline unique_fd new_netns() {
  const unique_fd home = current_netns();
  if (unshare(CLONE_NEWNET) != 0) std::abort();
  unique_fd made = current_netns();
  if (setns(home.get(), CLONE_NEWNET) != 0) std::abort();
  return made;
}

/// What the agent does inside a machine: address, up, default route. No gateway: no route.
inline result<void> configure(const unique_fd& netns, const std::string& device, const std::string& address,
                              const std::string& gateway) {
  return inside(netns, [&]() -> result<void> {
    const auto own = *parse_subnet4(address);
    const uint32_t index = link_index(device);
    ARCA_TRY(socket, nl_socket::open());
    ifaddrmsg addr{};
    addr.ifa_family = AF_INET;
    addr.ifa_prefixlen = own.prefix;
    addr.ifa_index = index;
    nl_request add(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    add.body(addr).put_u32(IFA_LOCAL, htonl(own.address)).put_u32(IFA_ADDRESS, htonl(own.address));
    ARCA_CHECK(socket.run(add, "test address"));
    ifinfomsg link{};
    link.ifi_index = static_cast<int>(index);
    link.ifi_flags = link.ifi_change = 1;  // IFF_UP
    nl_request up(RTM_NEWLINK, NLM_F_ACK);
    up.body(link);
    ARCA_CHECK(socket.run(up, "test up"));
    if (gateway.empty()) return {};
    rtmsg route{};
    route.rtm_family = AF_INET;
    route.rtm_table = RT_TABLE_MAIN;
    route.rtm_protocol = RTPROT_STATIC;
    route.rtm_type = RTN_UNICAST;
    nl_request def(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE);
    def.body(route).put_u32(RTA_GATEWAY, htonl(*parse_ip4(gateway)));
    return socket.run(def, "test route");
  });
}

/// A TCP listener on every address of the namespace.
inline unique_fd listen_in(const unique_fd& netns, uint16_t port) {
  return inside(netns, [&] {
    unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(fd.get(), 8) != 0) fd.reset();
    return fd;
  });
}

/// Connects from inside `netns`; true when the connection stands within `timeout_ms`.
inline bool connects(const unique_fd& netns, const std::string& address, uint16_t port, int timeout_ms) {
  return inside(netns, [&] {
    const unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(*parse_ip4(address));
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return true;
    pollfd wait{fd.get(), POLLOUT, 0};
    int failure = -1;
    socklen_t size = sizeof failure;
    return ::poll(&wait, 1, timeout_ms) == 1 && getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failure, &size) == 0 &&
           failure == 0;
  });
}

/// The peer's address of the next connection, if there is one at once.
inline std::string accepted_from(const unique_fd& listener) {
  pollfd wait{listener.get(), POLLIN, 0};
  if (::poll(&wait, 1, 500) != 1) return {};
  sockaddr_in peer{};
  socklen_t size = sizeof peer;
  const unique_fd fd(::accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_CLOEXEC));
  return fd ? to_string(ip4{ntohl(peer.sin_addr.s_addr)}) : std::string{};
}

}  // namespace arca::net::testing
