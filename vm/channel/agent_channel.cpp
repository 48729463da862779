#include "vm/channel/agent_channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/text.hpp"
#include "vm/channel/echo_finder.hpp"

namespace arca::vm {
namespace {
using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
// A line is lost when the kernel inside has only just learned of us (once in hundreds). More seldom later: lines that
// are sent while the machine boots wait for the agent, all of them.
constexpr auto first_silence = milliseconds(500);
constexpr auto longest_silence = milliseconds(4000);

milliseconds until(clock::time_point when) {
  return std::max(std::chrono::ceil<milliseconds>(when - clock::now()), milliseconds(0));
}

tl::unexpected<error> silent() {
  return fail(errc::timeout, "the machine's agent does not answer");
}

result<unique_fd> connect_to(const std::string& path, clock::time_point end) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(errc::invalid_argument, path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!made) return fail_errno("socket");
  // QEMU's backlog is short: a connect waits while it is full, for as long as this.
  const auto left = std::max(until(end), milliseconds(1));
  const timeval limit{left.count() / 1000, left.count() % 1000 * 1000};
  setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EAGAIN || errno == EINPROGRESS) return silent();
    return fail(errc::unavailable, path + ": " + std::strerror(errno));
  }
  if (fcntl(made.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno("socket");
  return made;
}

// Sends a line with a fresh nonce. A full socket is no failure: the next line will do.
result<void> send_line(int socket, const std::string& secret, echo_finder& echo) {
  const std::string line = vm_start::line_magic + secret + ' ' + random_hex(vm_start::nonce_digits / 2) + '\n';
  const ssize_t n = send(socket, line.data(), line.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN)
    return fail(errc::unavailable, std::string("the machine has gone: ") + std::strerror(errno));
  echo.expect(line);
  return {};
}

// What has come, up to the echo and not a byte more. An agent that talks without end does not keep us past `end`.
result<void> take(int socket, echo_finder& echo, clock::time_point end) {
  std::array<char, 16u << 10> bytes;
  while (!echo.found() && clock::now() < end) {
    const ssize_t n = recv(socket, bytes.data(), bytes.size(), MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (n <= 0) return fail(errc::unavailable, "the machine has closed the connection to its agent");
    const size_t used = echo.look({bytes.data(), static_cast<size_t>(n)});
    if (recv(socket, bytes.data(), used, 0) != static_cast<ssize_t>(used))
      return fail(errc::internal, "bytes that were there have gone");
  }
  return {};
}
}  // namespace

std::string new_agent_secret() {
  return random_hex(vm_start::secret_digits / 2);
}

result<unique_fd> connect_agent(const std::string& socket_path, const std::string& secret, int deadline_ms) {
  if (secret.size() != vm_start::secret_digits) return fail(errc::invalid_argument, "not an agent's secret");
  const auto end = clock::now() + milliseconds(deadline_ms);
  ARCA_TRY(socket, connect_to(socket_path, end));
  echo_finder echo;
  for (auto silence = first_silence;; silence = std::min(silence * 2, longest_silence)) {
    ARCA_CHECK(send_line(socket.get(), secret, echo));
    const auto again = std::min(clock::now() + silence, end);
    while (until(again).count() > 0) {
      pollfd wait{socket.get(), POLLIN, 0};
      if (poll(&wait, 1, static_cast<int>(until(again).count())) <= 0) continue;
      ARCA_CHECK(take(socket.get(), echo, again));
      if (echo.found()) return std::move(socket);
    }
    if (clock::now() >= end) return silent();
  }
}

}  // namespace arca::vm
