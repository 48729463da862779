// Inner parts of connection.hpp: a non-blocking socket and waiting for it.
#pragma once
#include <chrono>
#include <string>

#include "persistence/base/unique_fd.hpp"
#include "persistence/registry/connection.hpp"

namespace arca::registry {

tl::unexpected<failure> transport_failure(std::string message, bool retry = false);

/// poll(2) for `events`, until `timeout` ("i/o timeout", retry) or `stop` (cancelled).
outcome<void> wait_for(int fd, short events, std::chrono::milliseconds timeout, const stop_signal& stop);

struct tcp_socket {
  unique_fd fd;
  std::string route;  ///< "127.0.0.1:40000->127.0.0.1:5000"
  reach peer = reach::none;
};
outcome<tcp_socket> dial_tcp(const url& to, const dial_options& options, const stop_signal& stop);

/// Takes the socket over and shakes hands for `to`'s host.
outcome<std::unique_ptr<connection>> start_tls(tcp_socket socket, const url& to, const dial_options& options,
                                               const stop_signal& stop);

/// send(2) and recv(2) on a non-blocking socket; -1 with EAGAIN. Never SIGPIPE.
ssize_t send_now(int fd, const void* data, size_t size) noexcept;
ssize_t receive_now(int fd, void* data, size_t size) noexcept;
/// Text of a failed read or write: "read tcp A->B: read: connection reset by peer".
tl::unexpected<failure> io_failure(const tcp_socket& socket, const char* verb, int code);
bool quiet(int fd) noexcept;  ///< connection::idle

}  // namespace arca::registry
