#include "http/listener.hpp"

#include <arpa/inet.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::http {
namespace {

constexpr int backlog = 4096;

result<listener> parse_host(const std::string& text, const settings& config) {
  listener l;
  const auto unclear = [&text] {
    return fail(errc::invalid_argument,
                "cannot listen on " + go_quote(text) + ": want unix:///path or tcp://host:port");
  };
  if (text.starts_with("unix://")) {
    l.path = text.substr(7);
    if (l.path.empty() || l.path.front() != '/') return unclear();
    return l;
  }
  if (!text.starts_with("tcp://")) return unclear();
  l.tls = config.tls;
  l.allow_insecure = config.allow_insecure_tcp;
  l.port = config.tls ? 2376 : 2375;
  std::string_view rest = std::string_view(text).substr(6);
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const bool bracketed = rest.starts_with('[');
  const auto close = bracketed ? rest.find(']') : 0;
  if (close == std::string_view::npos) return unclear();
  const auto colon = rest.find(':', close);
  l.host = bracketed ? rest.substr(1, close - 1) : rest.substr(0, colon);
  if (bracketed && colon != close + 1 && close + 1 != rest.size()) return unclear();
  if (colon != std::string_view::npos) {
    const auto number = rest.substr(colon + 1);
    const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), l.port);
    if (ec != std::errc() || end != number.data() + number.size()) return unclear();
  }
  return l;
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return (ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr) >> 24) == 127;
  return address->sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

// The id of the first group that exists; -1: none, the file keeps ours.
gid_t group_of_clients() {
  std::array<char, 4096> space{};
  for (const char* name : {"docker", "arca"}) {
    group entry{};
    group* found = nullptr;
    if (::getgrnam_r(name, &entry, space.data(), space.size(), &found) == 0 && found != nullptr) return found->gr_gid;
  }
  return static_cast<gid_t>(-1);
}

result<void> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode))
    return fail(errc::conflict, "cannot listen on " + path + ": there is a file that is not a socket");
  const unique_fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN)
    return fail(errc::conflict, "cannot listen on " + path + ": another program is listening there");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("remove the stale socket " + path);
  return {};
}

result<bound_socket> bind_unix(const listener& l) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (l.path.size() >= sizeof address.sun_path)
    return fail(errc::invalid_argument, "the socket path " + go_quote(l.path) + " is longer than 107 bytes");
  std::memcpy(address.sun_path, l.path.data(), l.path.size());
  if (const auto slash = l.path.rfind('/'); slash > 0) ARCA_CHECK(fs::make_dirs(l.path.substr(0, slash), 0755));
  ARCA_CHECK(remove_stale(l.path, address));
  bound_socket made;
  made.fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.fd) return fail_errno("make a socket");
  ::fchmod(made.fd.get(), 0600);  // what bind() gives the file, so that it is never open to others
  if (::bind(made.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("listen on " + l.path);
  if (const auto group = group_of_clients();
      group != static_cast<gid_t>(-1) && ::lchown(l.path.c_str(), static_cast<uid_t>(-1), group) != 0)
    return fail_errno("set the group of " + l.path);
  if (::chmod(l.path.c_str(), 0660) != 0) return fail_errno("set the mode of " + l.path);
  if (::listen(made.fd.get(), backlog) != 0) return fail_errno("listen on " + l.path);
  made.family = AF_UNIX;
  made.address = "unix://" + l.path;
  made.path = l.path;
  return made;
}

std::string tcp_name(const sockaddr* address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getnameinfo(address, size, host.data(), host.size(), port.data(), port.size(),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "tcp://?";
  const std::string name = host.data();
  return "tcp://" + (address->sa_family == AF_INET6 ? "[" + name + "]" : name) + ":" + port.data();
}

result<bound_socket> bind_tcp(const listener& l, const addrinfo& at) {
  if (!l.tls && !l.allow_insecure && !is_loopback(at.ai_addr))
    return fail(
        errc::invalid_argument,
        "refusing to listen on " + tcp_name(at.ai_addr, at.ai_addrlen) +
            " without TLS: everybody who reaches it would be root here; set tls and tls-verify with their files, or "
            "allow-insecure-tcp if you are sure");
  bound_socket made;
  made.fd.reset(::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.fd) return fail_errno("make a socket");
  const int on = 1;
  ::setsockopt(made.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.ai_family == AF_INET6) ::setsockopt(made.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(made.fd.get(), at.ai_addr, at.ai_addrlen) != 0 || ::listen(made.fd.get(), backlog) != 0)
    return fail_errno("listen on " + tcp_name(at.ai_addr, at.ai_addrlen));
  sockaddr_storage actual{};
  socklen_t size = sizeof actual;
  ::getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&actual), &size);
  made.family = at.ai_family;
  made.address = tcp_name(reinterpret_cast<const sockaddr*>(&actual), size);
  made.tls = l.tls;
  return made;
}

struct addrinfo_free {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

}  // namespace

result<std::vector<listener>> listeners_of(const settings& config) {
  std::vector<listener> all;
  if (!config.socket_path.empty()) all.push_back({.path = config.socket_path});
  for (const auto& host : config.hosts) {
    ARCA_TRY(l, parse_host(host, config));
    all.push_back(std::move(l));
  }
  return all;
}

result<std::vector<bound_socket>> bind_all(const std::vector<listener>& listeners) {
  std::vector<bound_socket> all;
  for (const auto& l : listeners) {
    if (!l.path.empty()) {
      ARCA_TRY(made, bind_unix(l));
      all.push_back(std::move(made));
      continue;
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const auto port = std::to_string(l.port);
    if (const int r = ::getaddrinfo(l.host.empty() ? nullptr : l.host.c_str(), port.c_str(), &hints, &found); r != 0)
      return fail(errc::invalid_argument, "cannot listen on tcp://" + l.host + ":" + port + ": " + ::gai_strerror(r));
    const std::unique_ptr<addrinfo, addrinfo_free> owner(found);
    for (const auto* at = found; at != nullptr; at = at->ai_next) {
      ARCA_TRY(made, bind_tcp(l, *at));
      all.push_back(std::move(made));
    }
  }
  return all;
}

}  // namespace arca::http
