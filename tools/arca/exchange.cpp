#include "tools/arca/exchange.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "persistence/base/fs.hpp"

namespace arca::cli {
namespace {
constexpr size_t piece = 64u << 10;  // also the largest datagram
constexpr int silence_ms = 2000;

void send_input(int socket, bool datagrams, std::atomic<bool>& ended) {
  std::string buffer(piece, '\0');
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || !fs::write_all(socket, std::string_view(buffer).substr(0, static_cast<size_t>(n)))) break;
  }
  ended = true;
  if (!datagrams) ::shutdown(socket, SHUT_WR);
}

int broken(const char* what) {
  std::fprintf(stderr, "arca: %s: %s\n", what, std::strerror(errno));
  return 1;
}
}  // namespace

int exchange(api_client::hijacked with, bool datagrams) {
  std::signal(SIGPIPE, SIG_IGN);
  const int socket = with.socket.get();
  static std::atomic<bool> input_ended{false};  // its thread ends with the program
  std::thread([socket, datagrams] { send_input(socket, datagrams, input_ended); }).detach();
  if (!fs::write_all(STDOUT_FILENO, with.early)) return broken("write");
  std::string buffer(piece, '\0');
  for (int silent = 0;;) {
    pollfd ready{socket, POLLIN, 0};
    constexpr int step = 100;
    if (::poll(&ready, 1, datagrams ? step : -1) == 0) {
      silent = input_ended ? silent + step : 0;
      if (silent >= silence_ms) return 0;
      continue;
    }
    silent = 0;
    const ssize_t n = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return broken("connection");
    if (n == 0) return 0;
    if (!fs::write_all(STDOUT_FILENO, std::string_view(buffer).substr(0, static_cast<size_t>(n))))
      return broken("write");
  }
}

}  // namespace arca::cli
