// gRPC calls recvmsg, sendmsg, shutdown and epoll_ctl on its descriptor. The link sends these through here
// (ld --wrap=…), and for the port they become read and write. gRPC gets a duplicate, so that its close() does not close
// the port; its shutdown() is the moment at which the connection is over (an unfinished call may keep the descriptor
// for as long as it likes).
#include <fcntl.h>
#include <grpcpp/version_info.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>

#include "guest/agent_log.hpp"
#include "guest/channel/port_acceptor.hpp"
#include "guest/channel/port_channel.hpp"

// How gRPC uses its descriptor is no public promise: another version needs another look.
static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51,
              "look at guest/channel/direct_port.cpp again");

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
ssize_t __real_recvmsg(int fd, msghdr* message, int flags);
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
int __real_shutdown(int fd, int how);
int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
// NOLINTEND(bugprone-reserved-identifier)
}

namespace arca::guest {
namespace {

class direct final : public port_channel {
 public:
  direct(loop& on, unique_fd port, serve then)
      : loop_(on), serve_(std::move(then)), acceptor_(on, std::move(port), [this] { up(); }) {
    instance.store(this);
  }
  direct(const direct&) = delete;
  direct& operator=(const direct&) = delete;
  ~direct() override { instance.store(nullptr); }

  void flush() override {}  // gRPC writes to the port itself

  bool mine(int fd) const { return fd >= 0 && fd == current_.load(); }

  // Fills as much of the message as there is.
  ssize_t receive(int fd, msghdr* into) {
    const std::lock_guard lock(receiving_);
    into->msg_controllen = 0;
    into->msg_flags = 0;
    if (over_ || fd != current_) return 0;
    ssize_t got = 0;
    for (size_t i = 0; i < into->msg_iovlen; ++i) {
      for (size_t have = 0; have < into->msg_iov[i].iov_len;) {
        char* at = static_cast<char*>(into->msg_iov[i].iov_base) + have;
        const ssize_t n = fill(at, into->msg_iov[i].iov_len - have);
        if (over_) return 0;
        if (n < 0) return got > 0 ? got : -1;
        have += static_cast<size_t>(n);
        got += n;
      }
    }
    return got;
  }

  ssize_t send(int fd, const msghdr* what) {
    const std::lock_guard lock(sending_);
    if (over_ || fd != current_) {
      errno = EPIPE;
      return -1;
    }
    ssize_t sent = send_beginning(*what);
    // The driver takes little a write. What it does not take now gRPC offers again when it can.
    auto before = static_cast<size_t>(std::max<ssize_t>(sent, 0));
    for (size_t i = 0; i < what->msg_iovlen && sent > 0; ++i) {
      const auto& part = what->msg_iov[i];
      const size_t skipped = std::min(before, part.iov_len);
      before -= skipped;
      for (size_t at = skipped; at < part.iov_len;) {
        const ssize_t n = write(acceptor_.port(), static_cast<const char*>(part.iov_base) + at, part.iov_len - at);
        if (n <= 0) return sent;
        at += static_cast<size_t>(n);
        sent += n;
      }
    }
    return sent;
  }

  void ended(int fd) {
    {
      const std::scoped_lock lock(receiving_, sending_);
      if (fd != current_) return;
      current_ = -1;
      over_ = true;
      epoll_event none{};  // the duplicate stays open for as long as gRPC likes, and would stay registered
      __real_epoll_ctl(poller_, EPOLL_CTL_DEL, fd, &none);
    }
    loop_.post([this] {
      carry_.clear();
      acceptor_.resume(std::exchange(line_, {}));
    });
  }

  void polled_by(int epoll) { poller_ = epoll; }

  static inline std::atomic<direct*> instance{nullptr};

 private:
  void up() {
    const int fd = fcntl(acceptor_.port(), F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
      log().write("port: too many descriptors");
      return acceptor_.resume({});
    }
    {
      const std::scoped_lock lock(receiving_, sending_);
      current_ = fd;
      over_ = false;
    }
    serve_(unique_fd(fd));
  }

  // Small pieces in one buffer, which is one kick of the device; of a long message only what goes with its head.
  ssize_t send_beginning(const msghdr& what) {
    const auto& first = what.msg_iov[0];
    if (what.msg_iovlen == 1 || first.iov_len >= out_.size())
      return write(acceptor_.port(), first.iov_base, first.iov_len);
    size_t whole = 0;
    for (size_t i = 0; i < what.msg_iovlen && whole <= out_.size(); ++i) whole += what.msg_iov[i].iov_len;
    const size_t most = whole <= out_.size() ? whole : std::max(short_piece, first.iov_len);
    size_t size = 0;
    for (size_t i = 0; i < what.msg_iovlen && size < most; ++i) {
      const size_t part = std::min(what.msg_iov[i].iov_len, most - size);
      std::memcpy(out_.data() + size, what.msg_iov[i].iov_base, part);
      size += part;
    }
    return write(acceptor_.port(), out_.data(), size);
  }

  // At least one byte, or -1 with errno, or `over_`.
  ssize_t fill(char* to, size_t room) {
    if (!carry_.empty()) {
      const size_t part = std::min(room, carry_.size());
      std::memcpy(to, carry_.data(), part);
      carry_.erase(0, part);
      return static_cast<ssize_t>(part);
    }
    const bool in_place = room >= port_buffer;
    char* at = in_place ? to : in_.data();
    const ssize_t n = read(acceptor_.port(), at, port_buffer);
    if (n < 0) return n;
    if (n > 0) line_ = acceptor_.lines().at_start({at, static_cast<size_t>(n)});
    if (n == 0 || !line_.empty()) {
      over_ = true;
      return 0;
    }
    if (in_place) return n;
    const size_t part = std::min(room, static_cast<size_t>(n));
    std::memcpy(to, at, part);
    carry_.assign(at + part, static_cast<size_t>(n) - part);
    return static_cast<ssize_t>(part);
  }

  loop& loop_;
  serve serve_;
  // gRPC receives on one thread at a time and sends on one; an ended connection may still do either.
  std::mutex receiving_, sending_;
  std::atomic<int> current_{-1};  ///< gRPC's descriptor
  std::atomic<int> poller_{-1};   ///< gRPC's epoll set
  std::atomic<bool> over_{true};  ///< gRPC reads the end from now on
  std::string line_;              ///< that ended the connection
  std::string carry_;             ///< what gRPC's buffer had no room for
  std::array<char, port_buffer> in_;
  static constexpr size_t short_piece = 4096;
  std::array<char, 32u << 10> out_;  ///< the driver takes that much a write
  port_acceptor acceptor_;
};

direct* of(int fd) {
  direct* one = direct::instance.load(std::memory_order_acquire);
  return one && one->mine(fd) ? one : nullptr;
}
}  // namespace

std::unique_ptr<port_channel> direct_port(loop& on, unique_fd port, port_channel::serve serve) {
  return std::make_unique<direct>(on, std::move(port), std::move(serve));
}

}  // namespace arca::guest

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier)
ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags);
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);

ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
  auto* port = arca::guest::of(fd);
  return port ? port->receive(fd, message) : __real_recvmsg(fd, message, flags);
}
ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  auto* port = arca::guest::of(fd);
  return port ? port->send(fd, message) : __real_sendmsg(fd, message, flags);
}
int __wrap_shutdown(int fd, int how) {
  auto* port = arca::guest::of(fd);
  if (!port) return __real_shutdown(fd, how);
  port->ended(fd);
  return 0;
}
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  auto* port = operation == EPOLL_CTL_ADD ? arca::guest::of(fd) : nullptr;
  if (port) port->polled_by(epoll);
  return __real_epoll_ctl(epoll, operation, fd, event);
}
// NOLINTEND(bugprone-reserved-identifier)
}
