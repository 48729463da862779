// Name resolution and TCP connect.
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <thread>

#include "persistence/base/text.hpp"
#include "persistence/registry/socket.hpp"

namespace arca::registry {
namespace {
using clock = std::chrono::steady_clock;

struct resolution {
  int status = EAI_AGAIN;
  std::vector<sockaddr_storage> addresses;
  unique_fd done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

// getaddrinfo cannot be cancelled: it runs on a thread of its own that is left behind when nobody waits any more.
outcome<std::vector<sockaddr_storage>> resolve(const url& to, const dial_options& options, const stop_signal& stop) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  const auto look_up = [](const std::string& host, const std::string& port, const addrinfo& with, resolution& into) {
    addrinfo* list = nullptr;
    into.status = ::getaddrinfo(host.c_str(), port.c_str(), &with, &list);
    for (auto* a = list; into.status == 0 && a != nullptr; a = a->ai_next) {
      sockaddr_storage s{};
      std::memcpy(&s, a->ai_addr, std::min(sizeof s, size_t{a->ai_addrlen}));
      into.addresses.push_back(s);
    }
    if (list != nullptr) ::freeaddrinfo(list);
  };
  resolution literal;
  auto numeric = hints;
  numeric.ai_flags |= AI_NUMERICHOST;
  look_up(to.host, to.port, numeric, literal);
  if (literal.status == 0) return std::move(literal.addresses);

  auto shared = std::make_shared<resolution>();
  std::thread([shared, host = to.host, port = to.port, hints, look_up] {
    resolution mine;
    look_up(host, port, hints, mine);
    shared->status = mine.status;
    shared->addresses = std::move(mine.addresses);
    const uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(shared->done.get(), &one, sizeof one);
  }).detach();
  const std::string context = "dial tcp: lookup " + to.host + ": ";
  if (auto ready = wait_for(shared->done.get(), POLLIN, options.connect_timeout, stop); !ready) {
    if (ready.error().final) return fail(ready.error());
    return transport_failure(context + "i/o timeout");
  }
  uint64_t looked_up = 0;  // also what tells ThreadSanitizer that the thread is done with it; poll does not
  [[maybe_unused]] const auto n = ::read(shared->done.get(), &looked_up, sizeof looked_up);
  if (shared->status != 0 || shared->addresses.empty()) {
    const bool unknown = shared->status == EAI_NONAME || shared->status == EAI_NODATA;
    return transport_failure(context + (unknown ? "no such host" : lower(::gai_strerror(shared->status))));
  }
  return std::move(shared->addresses);
}

bool too_near(reach found, reach nearest) noexcept {
  return found == reach::none || static_cast<int>(found) > static_cast<int>(nearest);
}
}  // namespace

tl::unexpected<failure> transport_failure(std::string message, bool retry) {
  failure f;
  f.what = error(errc::internal, std::move(message));
  f.transport = true;
  f.retry = retry;
  return tl::unexpected<failure>(std::move(f));
}

outcome<void> wait_for(int fd, short events, std::chrono::milliseconds timeout, const stop_signal& stop) {
  const auto end = clock::now() + timeout;
  for (;;) {
    if (stop.requested()) return cancelled();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - clock::now()).count();
    if (left < 0) {
      auto f = transport_failure("i/o timeout", true);
      f.value().stalled = true;
      return f;
    }
    std::array<pollfd, 2> p{pollfd{fd, events, 0}, pollfd{stop.fd(), POLLIN, 0}};
    const int n = ::poll(p.data(), p.size(), static_cast<int>(left) + 1);
    if (n > 0 && p[0].revents != 0) return {};
  }
}

outcome<tcp_socket> dial_tcp(const url& to, const dial_options& options, const stop_signal& stop) {
  auto addresses = resolve(to, options, stop);
  if (!addresses) return fail(addresses.error());
  failure last;
  for (const auto& storage : *addresses) {
    const auto* address = reinterpret_cast<const sockaddr*>(&storage);
    const auto where = reach_of(address);
    if (too_near(where, options.nearest)) {
      auto f = give_up(errc::internal, "refusing to connect to " + address_text(address) + " for " + to.authority() +
                                           ": the address is not public and the registry is");
      last = f.value();
      continue;
    }
    const std::string context = "dial tcp " + address_text(address) + ": ";
    unique_fd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const socklen_t size = storage.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    int code = fd && ::connect(fd.get(), address, size) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
      if (auto ready = wait_for(fd.get(), POLLOUT, options.connect_timeout, stop); !ready) {
        if (ready.error().final) return fail(ready.error());
        last = transport_failure(context + "i/o timeout", true).value();
        continue;
      }
      socklen_t length = sizeof code;
      ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &length);
    }
    if (code != 0) {
      std::array<char, 128> text{};
      last = transport_failure(context + "connect: " + lower(::strerror_r(code, text.data(), text.size()))).value();
      continue;
    }
    const int one = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    sockaddr_storage mine{};
    socklen_t mine_size = sizeof mine;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&mine), &mine_size);
    tcp_socket out;
    out.fd = std::move(fd);
    out.route = address_text(reinterpret_cast<const sockaddr*>(&mine)) + "->" + address_text(address);
    out.peer = where;
    return out;
  }
  return fail(std::move(last));
}

}  // namespace arca::registry
