#include "guest/tunnel_target.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "guest/vm/rooted.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
constexpr auto connect_limit = 30'000ms;

tl::unexpected<error> not_connected(int number) {
  return fail(errc::unavailable, std::strerror(number));
}

struct socket_address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

result<socket_address> parse_address(const std::string& host, uint32_t port) {
  socket_address out;
  if (port == 0 || port > 65535) return fail(errc::invalid_argument, "invalid port " + std::to_string(port));
  auto* four = reinterpret_cast<sockaddr_in*>(&out.bytes);
  auto* six = reinterpret_cast<sockaddr_in6*>(&out.bytes);
  if (inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<uint16_t>(port));
    out.size = sizeof *four;
  } else if (inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(static_cast<uint16_t>(port));
    out.size = sizeof *six;
  } else {
    return fail(errc::invalid_argument, "invalid address " + go_quote(host));
  }
  return out;
}

// The network of a process if it is another one than ours; else empty. On the loop, where the process cannot have
// become another one meanwhile.
result<unique_fd> other_network(pid_t process) {
  if (process == 0) return unique_fd();
  ARCA_TRY(network, fs::open("/proc/" + std::to_string(process) + "/ns/net", O_RDONLY));
  struct stat theirs {};
  struct stat ours {};
  const bool same = fstat(network.get(), &theirs) == 0 && stat("/proc/self/ns/net", &ours) == 0 &&
                    theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
  return same ? unique_fd() : std::move(network);
}

result<unique_fd> make_socket(int family, int type) {
  unique_fd made(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made) return not_connected(errno);
  return made;
}

// A thread of its own, because it does not come back from the other namespace.
result<unique_fd> make_socket_in(int network, int family, int type) {
  result<unique_fd> out;
  std::thread([&] {
    if (setns(network, CLONE_NEWNET) != 0)
      out = not_connected(errno);
    else
      out = make_socket(family, type);
  }).join();
  return out;
}

result<unique_fd> connect_unix_in(int root, const std::string& path) {
  auto found = open_in(root, path, O_PATH);
  if (!found) return fail(errc::unavailable, found.error().message());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "/proc/self/fd/" + std::to_string(found->get());
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  ARCA_TRY(made, make_socket(AF_UNIX, SOCK_STREAM));
  if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return not_connected(errno);
  return std::move(made);
}
}  // namespace

void tunnel_opener::open(const tunnel_target& target, opened done) {
  if (target.to == tunnel_target::kind::relayed) {
    unique_fd waiting = relays_.take(target.connection);
    if (!waiting) return done(fail(errc::not_found, "no such connection waits"));
    return done(std::move(waiting));
  }
  pid_t init = 0;
  if (!target.container.empty()) {
    const auto found = agent_.init_pid(target.container);
    if (!found) return done(fail(found.error()));
    init = *found;
  }
  if (target.to == tunnel_target::kind::unix_socket) return open_unix(target, init, std::move(done));
  open_network(target, init, std::move(done));
}

void tunnel_opener::open_network(const tunnel_target& target, pid_t init, opened done) {
  const auto address = parse_address(target.host, target.port);
  if (!address) return done(fail(address.error()));
  const int type = target.to == tunnel_target::kind::tcp ? SOCK_STREAM : SOCK_DGRAM;
  auto go_on = [this, to = *address, done = std::move(done)](result<unique_fd> made) {
    if (!made) return done(fail(made.error()));
    const int on = 1;
    (void)setsockopt(made->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // refused for udp
    if (connect(made->get(), reinterpret_cast<const sockaddr*>(&to.bytes), to.size) == 0) return done(std::move(made));
    if (errno != EINPROGRESS) return done(not_connected(errno));
    await_connected(std::move(*made), done);
  };
  const int family = address->bytes.ss_family;
  auto other = other_network(init);
  if (!other || !*other) return go_on(other ? make_socket(family, type) : std::move(other));
  worker_.run<unique_fd>([network = std::make_shared<const unique_fd>(std::move(*other)), family,
                          type] { return make_socket_in(network->get(), family, type); },
                         std::move(go_on));
}

void tunnel_opener::await_connected(unique_fd socket, opened done) {
  struct attempt {
    unique_fd socket;
    loop::timer_id limit = 0;
    opened done;
  };
  auto it = std::make_shared<attempt>(attempt{std::move(socket), 0, std::move(done)});
  const auto over = [this, it](int number) {
    loop_.forget(it->socket.get());
    loop_.cancel(it->limit);
    const auto tell = std::exchange(it->done, {});
    if (number != 0) return tell(not_connected(number));
    tell(std::move(it->socket));
  };
  it->limit = loop_.after(connect_limit, [over] { over(ETIMEDOUT); });
  loop_.watch(it->socket.get(), EPOLLOUT, [it, over](uint32_t) {
    int number = 0;
    socklen_t size = sizeof number;
    getsockopt(it->socket.get(), SOL_SOCKET, SO_ERROR, &number, &size);
    over(number);
  });
}

void tunnel_opener::open_unix(const tunnel_target& target, pid_t init, opened done) {
  auto root = root_of(init);
  if (!root) return done(fail(root.error()));
  worker_.run<unique_fd>([root = std::make_shared<const unique_fd>(std::move(*root)),
                          path = target.path] { return connect_unix_in(root->get(), path); },
                         std::move(done));
}

}  // namespace arca::guest
