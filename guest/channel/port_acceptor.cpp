#include "guest/channel/port_acceptor.hpp"

#include <sys/epoll.h>

#include <array>

namespace arca::guest {
namespace {
using namespace std::chrono_literals;
// The line comes by interrupt, "the host is connected" through a work queue: the line can be here before the kernel
// lets us write.
constexpr auto echo_limit = 2000ms;
}  // namespace

port_acceptor::port_acceptor(loop& on, unique_fd port, std::function<void()> connected)
    : loop_(on), port_(std::move(port)), connected_(std::move(connected)) {
  resume({});
}

port_acceptor::~port_acceptor() {
  loop_.forget(port_.get());
  loop_.cancel(give_up_);
}

void port_acceptor::resume(std::string line) {
  lines_.forget_tail();
  if (!line.empty()) take(std::move(line));
  // HUP stays for as long as no host is connected; connects, ends and buffers are edges.
  loop_.watch(port_.get(), EPOLLIN | EPOLLOUT | EPOLLET, [this](uint32_t) { on_port(); });
}

void port_acceptor::take(std::string line) {
  echo_ = std::move(line);
  loop_.cancel(give_up_);
  give_up_ = loop_.after(echo_limit, [this] {
    give_up_ = 0;
    echo_.clear();
  });
}

void port_acceptor::on_port() {
  std::array<char, port_buffer> bytes;
  ssize_t n = 0;
  while ((n = read(port_.get(), bytes.data(), bytes.size())) > 0) {
    std::string line = lines_.search({bytes.data(), static_cast<size_t>(n)});
    if (!line.empty()) take(std::move(line));
  }
  if (n == 0 && echo_.empty()) lines_.forget_tail();  // no host
  write_echo();
}

void port_acceptor::write_echo() {
  if (echo_.empty()) return;
  const ssize_t n = write(port_.get(), echo_.data(), echo_.size());
  if (n <= 0) return;  // the next edge tries again
  echo_.erase(0, static_cast<size_t>(n));
  if (!echo_.empty()) return write_echo();
  loop_.cancel(give_up_);
  loop_.forget(port_.get());
  lines_.forget_tail();
  connected_();
}

}  // namespace arca::guest
