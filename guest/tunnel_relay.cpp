#include "guest/tunnel_relay.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
constexpr size_t smallest_read = 16u << 10;
constexpr size_t largest_datagram = 64u << 10;
// How long a socket that takes nothing more may still give something.
constexpr auto linger_limit = 5000ms;

bool has_gone(int socket) {
  pollfd state{socket, 0, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
}
bool input_is_over(int socket) {
  pollfd state{socket, POLLRDHUP, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP)) != 0;
}
}  // namespace

tunnel_relay::tunnel_relay(loop& on, unique_fd socket, bool datagrams, tunnel_messages& far)
    : loop_(on),
      socket_(std::move(socket)),
      datagrams_(datagrams),
      far_(far),
      hint_(datagrams ? largest_datagram : smallest_read) {}

tunnel_relay::~tunnel_relay() {
  broken();
}

void tunnel_relay::start() {
  far_.receive();
  watch();
}

void tunnel_relay::start_with(std::string bytes) {
  received(std::move(bytes));
  watch();
}

void tunnel_relay::watch() {
  if (!socket_) return;
  const uint32_t events = (in_open_ && !sending_ ? EPOLLIN : 0U) | (out_.empty() ? 0U : EPOLLOUT);
  if (events == 0) {  // not watched for nothing: HUP comes always
    if (std::exchange(watched_, false)) loop_.forget(socket_.get());
  } else if (std::exchange(watched_, true)) {
    loop_.change(socket_.get(), events);
  } else {
    loop_.watch(socket_.get(), events, [this](uint32_t ready) { on_ready(ready); });
  }
}

void tunnel_relay::on_ready(uint32_t events) {
  constexpr uint32_t always = EPOLLHUP | EPOLLERR;
  if ((events & (EPOLLOUT | always)) != 0) write_socket();
  if ((events & (EPOLLIN | always)) != 0) read_socket();
  watch();
}

void tunnel_relay::read_socket() {
  if (!socket_ || !in_open_ || sending_) return;
  std::string bytes(hint_, '\0');
  const ssize_t n = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (n > 0 || (n == 0 && datagrams_ && !input_is_over(socket_.get()))) {
    const auto size = static_cast<size_t>(n);
    if (!datagrams_) {
      if (size == hint_)
        hint_ = std::min(hint_ * 4, most_tunnel_bytes);
      else if (size <= hint_ / 4)
        hint_ = std::max(hint_ / 4, smallest_read);
    }
    bytes.resize(size);
    sending_ = true;
    return far_.send(std::move(bytes));
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0 && datagrams_) return;  // the network's word on an earlier datagram
  if (n < 0 && errno != ECONNRESET) return finish(fail_errno("read the connection"));
  end_of_input();
}

void tunnel_relay::end_of_input() {
  in_open_ = false;
  sending_ = true;
  if (out_open_ && has_gone(socket_.get())) output_lost();  // closed for good, not just for writing
  far_.send_end();
}

void tunnel_relay::sent() {
  if (!socket_) return;
  sending_ = false;
  if (in_open_) {
    read_socket();
    return watch();
  }
  finish_if_done();
}

void tunnel_relay::received(std::string bytes) {
  if (!socket_) return;
  if (bytes.size() > most_tunnel_bytes) return finish(fail(errc::invalid_argument, "too many bytes in a message"));
  if (discarding_ || (bytes.empty() && !datagrams_)) return far_.receive();
  out_ = std::move(bytes);
  written_ = 0;
  if (out_.empty()) {  // a datagram of no bytes
    (void)::send(socket_.get(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL);
    return far_.receive();
  }
  write_socket();
  watch();
}

void tunnel_relay::write_socket() {
  if (!socket_) return;
  while (!out_.empty()) {
    const ssize_t n =
        ::send(socket_.get(), out_.data() + written_, out_.size() - written_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0 && !datagrams_) output_lost();
    written_ += n > 0 ? static_cast<size_t>(n) : 0;
    if (n < 0 || datagrams_ || written_ == out_.size()) {
      out_.clear();
      if (out_.capacity() > largest_datagram) out_.shrink_to_fit();
      far_.receive();
      return;
    }
  }
}

// The far side may say what it likes; it is told the end when the socket has no more input either.
void tunnel_relay::output_lost() {
  if (std::exchange(discarding_, true)) return;
  linger_ = loop_.after(linger_limit, [this] {
    linger_ = 0;
    finish(fail(errc::unavailable, "the connection was closed"));
  });
}

void tunnel_relay::received_end() {
  if (!socket_) return;
  out_open_ = false;
  if (datagrams_) return finish({});
  shutdown(socket_.get(), SHUT_WR);
  finish_if_done();
}

void tunnel_relay::finish_if_done() {
  if (!in_open_ && !sending_ && !out_open_) finish({});
}

void tunnel_relay::finish(result<void> how) {
  if (!socket_) return;
  broken();
  far_.close(std::move(how));
}

void tunnel_relay::broken() {
  if (!socket_) return;
  loop_.cancel(linger_);
  loop_.forget(socket_.get());
  socket_.reset();
}

}  // namespace arca::guest
