#include "vm/relay/published_socket.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "vm/channel/pump_loop.hpp"

namespace arca::vm {
namespace {
constexpr int backlog = 64;
}  // namespace

/// On the pump's loop, but for what is made before it is listened to.
struct published_socket::state : std::enable_shared_from_this<state> {
  std::string path;
  unique_fd listener;
  open_tunnel open;
  struct stat made {};
  size_t connections = 0;
  bool watched = false;

  void watch() {
    if (!listener || watched || connections >= most_connections) return;
    watched = true;
    pump_loop().watch(listener.get(), EPOLLIN, [self = shared_from_this()](uint32_t) { self->accept(); });
  }
  void forget() {
    if (std::exchange(watched, false)) pump_loop().forget(listener.get());
  }
  void accept() {
    unique_fd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return;
    if (++connections >= most_connections) forget();
    open(std::move(connection), [self = shared_from_this()] {
      pump_loop().post([self] {
        --self->connections;
        self->watch();
      });
    });
  }
  void close() {
    forget();
    listener.reset();
    open = nullptr;
    struct stat now {};
    // Somebody else's by now?
    if (lstat(path.c_str(), &now) == 0 && now.st_dev == made.st_dev && now.st_ino == made.st_ino) unlink(path.c_str());
  }
};

result<std::unique_ptr<published_socket>> published_socket::listen(const std::string& path, open_tunnel open) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.front() != '/' || path.size() >= sizeof address.sun_path)
    return fail(errc::invalid_argument, "invalid path of a socket: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  auto s = std::make_shared<state>();
  s->path = path;
  s->open = std::move(open);
  s->listener.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The mode of the descriptor is that of the file which bind makes: at no time may another user connect.
  if (!s->listener || fchmod(s->listener.get(), 0600) != 0) return fail_errno("socket");
  if (bind(s->listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EADDRINUSE) return fail(errc::conflict, path + " exists already");
    return fail_errno("bind " + path);
  }
  if (lstat(path.c_str(), &s->made) != 0 || ::listen(s->listener.get(), backlog) != 0)
    return fail_errno("listen at " + path);
  pump_loop().post([s] { s->watch(); });
  return std::unique_ptr<published_socket>(new published_socket(std::move(s)));
}

published_socket::~published_socket() {
  pump_loop().post([s = std::move(state_)] { s->close(); });
}

}  // namespace arca::vm
