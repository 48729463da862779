#include "persistence/registry/connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "persistence/base/text.hpp"
#include "persistence/registry/socket.hpp"

namespace arca::registry {
namespace {
class plain_connection final : public connection {
 public:
  plain_connection(tcp_socket socket, std::chrono::milliseconds stall, const stop_signal& stop)
      : socket_(std::move(socket)), stall_(stall), stop_(stop) {}

  outcome<size_t> read_some(void* data, size_t size) override {
    for (;;) {
      const auto n = receive_now(socket_.fd.get(), data, size);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno != EAGAIN) return io_failure(socket_, "read", errno);
      if (auto ready = wait_for(socket_.fd.get(), POLLIN, stall_, stop_); !ready) return fail(ready.error());
    }
  }

  outcome<void> write_all(std::string_view data) override {
    while (!data.empty()) {
      const auto n = send_now(socket_.fd.get(), data.data(), data.size());
      if (n >= 0) {
        data.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      if (errno != EAGAIN) return io_failure(socket_, "write", errno);
      if (auto ready = wait_for(socket_.fd.get(), POLLOUT, stall_, stop_); !ready) return fail(ready.error());
    }
    return {};
  }

  reach peer() const noexcept override { return socket_.peer; }
  bool idle() const noexcept override { return quiet(socket_.fd.get()); }

 private:
  tcp_socket socket_;
  std::chrono::milliseconds stall_;
  const stop_signal& stop_;
};

}  // namespace

ssize_t send_now(int fd, const void* data, size_t size) noexcept {
  ssize_t n = 0;
  do {
    n = ::send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return n;
}

ssize_t receive_now(int fd, void* data, size_t size) noexcept {
  ssize_t n = 0;
  do {
    n = ::recv(fd, data, size, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  return n;
}

tl::unexpected<failure> io_failure(const tcp_socket& socket, const char* verb, int code) {
  std::array<char, 128> text{};
  return transport_failure(std::string(verb) + " tcp " + socket.route + ": " + verb + ": " +
                               lower(::strerror_r(code, text.data(), text.size())),
                           true);
}

bool quiet(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  return ::poll(&p, 1, 0) == 0;
}

outcome<std::unique_ptr<connection>> dial(const url& to, const dial_options& options, const stop_signal& stop) {
  auto socket = dial_tcp(to, options, stop);
  if (!socket) return fail(socket.error());
  if (to.scheme == "https") return start_tls(std::move(*socket), to, options, stop);
  return std::make_unique<plain_connection>(std::move(*socket), options.stall_timeout, stop);
}

}  // namespace arca::registry
