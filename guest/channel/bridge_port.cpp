#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "guest/agent_log.hpp"
#include "guest/channel/port_acceptor.hpp"
#include "guest/channel/port_channel.hpp"

namespace arca::guest {
namespace {

class buffer {
 public:
  bool empty() const { return begin_ == end_; }
  size_t room() const { return bytes_.size() - end_; }
  char* tail() { return bytes_.data() + end_; }
  void added(size_t n) { end_ += n; }
  const char* head() const { return bytes_.data() + begin_; }
  size_t size() const { return end_ - begin_; }
  void taken(size_t n) {
    begin_ += n;
    if (empty()) clear();
  }
  void clear() { begin_ = end_ = 0; }

 private:
  std::array<char, 128u << 10> bytes_;
  size_t begin_ = 0, end_ = 0;
};

class bridge final : public port_channel {
 public:
  bridge(loop& on, unique_fd port, serve then)
      : loop_(on), serve_(std::move(then)), acceptor_(on, std::move(port), [this] { up(); }) {}
  bridge(const bridge&) = delete;
  bridge& operator=(const bridge&) = delete;
  ~bridge() override { down(); }

  void flush() override {
    socket_in_ = true;
    pump();
  }

 private:
  void up() {
    std::array<int, 2> ends{-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      log().write("port: no socket pair");
      return acceptor_.resume({});
    }
    socket_.reset(ends[0]);
    port_in_ = port_out_ = socket_in_ = socket_out_ = true;
    loop_.watch(acceptor_.port(), EPOLLIN | EPOLLOUT | EPOLLET, [this](uint32_t events) {
      // An old HUP can be seen after the new line: read() == 0 tells that the host has gone.
      port_in_ = port_in_ || (events & (EPOLLIN | EPOLLHUP)) != 0;
      port_out_ = port_out_ || (events & EPOLLOUT) != 0;
      pump();
    });
    loop_.watch(socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, [this](uint32_t events) {
      socket_in_ = socket_in_ || (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP)) != 0;
      socket_out_ = socket_out_ || (events & EPOLLOUT) != 0;
      pump();
    });
    serve_(unique_fd(ends[1]));
  }

  void down() {
    if (!socket_) return;
    loop_.forget(socket_.get());
    loop_.forget(acceptor_.port());
    socket_.reset();
    in_.clear();
    out_.clear();
  }
  bool end(std::string line = {}) {
    down();
    acceptor_.resume(std::move(line));
    return false;
  }

  void pump() {
    for (bool moved = true; moved && socket_;) {
      moved = false;
      if (!from_port(moved) || !to_socket(moved) || !from_socket(moved)) return;
      to_port(moved);
    }
  }

  // These are false when the connection has ended.
  bool from_port(bool& moved) {
    while (port_in_ && in_.room() >= port_buffer) {
      const ssize_t n = read(acceptor_.port(), in_.tail(), in_.room());
      if (n == 0) return end();
      if (n < 0) {
        port_in_ = false;
        break;
      }
      std::string line = acceptor_.lines().at_start({in_.tail(), static_cast<size_t>(n)});
      if (!line.empty()) return end(std::move(line));
      in_.added(static_cast<size_t>(n));
      moved = true;
    }
    return true;
  }
  bool to_socket(bool& moved) {
    while (socket_out_ && !in_.empty()) {
      const ssize_t n = send(socket_.get(), in_.head(), in_.size(), MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return end();
      if (n < 0) {
        socket_out_ = false;
        break;
      }
      in_.taken(static_cast<size_t>(n));
      moved = true;
    }
    return true;
  }
  bool from_socket(bool& moved) {
    if (!socket_in_ || out_.room() == 0) return true;
    const ssize_t n = recv(socket_.get(), out_.tail(), out_.room(), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return end();  // gRPC gave up
    if (n < 0) {
      socket_in_ = false;
      return true;
    }
    out_.added(static_cast<size_t>(n));
    moved = true;
    return true;
  }
  void to_port(bool& moved) {
    while (port_out_ && !out_.empty()) {
      const ssize_t n = write(acceptor_.port(), out_.head(), out_.size());
      if (n <= 0) {
        port_out_ = false;
        break;
      }
      out_.taken(static_cast<size_t>(n));
      moved = true;
    }
  }

  loop& loop_;
  serve serve_;
  unique_fd socket_;  ///< our end while there is a connection
  buffer in_, out_;   ///< from and to the host
  bool port_in_ = false, port_out_ = false, socket_in_ = false, socket_out_ = false;
  port_acceptor acceptor_;
};
}  // namespace

std::unique_ptr<port_channel> bridge_port(loop& on, unique_fd port, port_channel::serve serve) {
  return std::make_unique<bridge>(on, std::move(port), std::move(serve));
}

}  // namespace arca::guest
