#include "guest/stdio_connection.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace arca::guest {
namespace {
constexpr int buffer_size = 1 << 20;
}

stdio_socket::stdio_socket(loop& on, unique_fd socket) : loop_(on), socket_(std::move(socket)) {}

stdio_socket::~stdio_socket() {
  loop_.forget(socket_.get());
}

void stdio_socket::await_end(std::function<void()> ended) {
  loop_.watch(socket_.get(), 0, [ended = std::move(ended)](uint32_t) { ended(); });
}

void stdio_socket::begin(ready tell) {
  tell_ = std::move(tell);
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &buffer_size, sizeof buffer_size);
  loop_.watch(socket_.get(), EPOLLIN, [this](uint32_t events) {
    const bool writable = (events & EPOLLOUT) != 0;
    if (writable) loop_.change(socket_.get(), EPOLLIN);
    const auto tell = tell_;  // it may be the end of this object
    tell((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0, writable);
  });
}

ssize_t stdio_socket::send(const outgoing* parts, size_t count, bool /*last*/) {
  std::array<iovec, 32> places;
  msghdr message{};
  message.msg_iov = places.data();
  message.msg_iovlen = std::min(count, places.size());
  for (size_t i = 0; i < message.msg_iovlen; ++i) places[i] = {const_cast<char*>(parts[i].at), parts[i].size};
  for (;;) {
    const ssize_t n = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return -1;
    loop_.change(socket_.get(), EPOLLIN | EPOLLOUT);
    return 0;
  }
}

ssize_t stdio_socket::receive(char* into, size_t room) {
  const ssize_t n = recv(socket_.get(), into, room, MSG_DONTWAIT);
  if (n > 0) return n;
  return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

}  // namespace arca::guest
