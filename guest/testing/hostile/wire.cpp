#include "guest/testing/hostile/wire.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

namespace arca::hostile {
namespace {

bool send_all(int socket, const char* at, size_t size) {
  while (size > 0) {
    const auto n = ::send(socket, at, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

void blocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

using ends = std::shared_ptr<std::pair<unique_fd, unique_fd>>;  ///< the daemon's, gRPC's

/// From `from` to `to` until either ends; what is wrong begins behind the first `good` bytes.
void copy(const ends& both, int from, int to, const std::string& how, size_t good) {
  char bytes[16 << 10];
  size_t passed = 0;
  const bool slow = how == "slow";
  for (;;) {
    const auto n = ::recv(from, bytes, slow ? 1 : sizeof bytes, 0);
    if (n <= 0) break;
    passed += static_cast<size_t>(n);
    const bool wrong = passed > good;
    if (wrong && how == "flip")
      for (ssize_t i = 0; i < n; i += 97) bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (!send_all(to, bytes, static_cast<size_t>(n))) break;
    if (wrong && how == "double" && !send_all(to, bytes, static_cast<size_t>(n))) break;
    if (wrong && how == "close") break;
  }
  ::shutdown(both->first.get(), SHUT_RDWR);
  ::shutdown(both->second.get(), SHUT_RDWR);
}

/// Whatever the daemon says, it hears this.
void talk(const ends& both, const std::string& how) {
  const int out = both->first.get();
  static constexpr char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
  static constexpr char ping[] = {0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
  std::string block;
  if (how == "pings") {
    send_all(out, settings, sizeof settings);
    for (int i = 0; i < 4096; ++i) block.append(ping, sizeof ping);
  } else if (how == "settings") {
    for (int i = 0; i < 4096; ++i) block.append(settings, sizeof settings);
  } else {
    for (unsigned i = 0; i < (64u << 10); ++i) block += static_cast<char>(i * 2654435761u >> 11);
  }
  while (send_all(out, block.data(), block.size())) {
  }
}

}  // namespace

unique_fd through_wire(unique_fd outside, const wish& wanted) {
  if (wanted.what != "wire") return outside;
  int pair[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return outside;
  blocking(outside.get());
  auto both = std::make_shared<std::pair<unique_fd, unique_fd>>(std::move(outside), unique_fd(pair[0]));
  const auto& how = wanted.how;
  if (how == "pings" || how == "settings" || how == "garbage") {
    std::thread([both, how] { talk(both, how); }).detach();
  } else {
    const size_t good = wanted.argument.empty() ? 200 : std::stoul(wanted.argument);
    std::thread([both, how, good] { copy(both, both->second.get(), both->first.get(), how, good); }).detach();
    if (how != "deaf") std::thread([both] { copy(both, both->first.get(), both->second.get(), {}, 0); }).detach();
  }
  unique_fd inside(pair[1]);
  fcntl(inside.get(), F_SETFL, O_NONBLOCK);
  return inside;
}

}  // namespace arca::hostile
