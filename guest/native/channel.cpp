#include "guest/native/channel.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace arca::guest::native {

std::string problem::message() const {
  return std::string(text.data()) + ": " + std::strerror(number);
}

bool send_report(int channel, report::kind what, const problem& why) noexcept {
  report message{what, why};
  // write, not send: a container's seccomp profile may know no sockets.
  for (;;) {
    const ssize_t n = write(channel, &message, sizeof message);
    if (n == static_cast<ssize_t>(sizeof message)) return true;
    if (n >= 0 || errno != EINTR) return false;
  }
}

bool send_terminal(int channel, int master) noexcept {
  report message{report::kind::terminal, {}};
  iovec part{&message, sizeof message};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr head{};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  head.msg_control = control.data();
  head.msg_controllen = control.size();
  cmsghdr* attached = CMSG_FIRSTHDR(&head);
  attached->cmsg_level = SOL_SOCKET;
  attached->cmsg_type = SCM_RIGHTS;
  attached->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(attached), &master, sizeof master);
  return sendmsg(channel, &head, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof message);
}

}  // namespace arca::guest::native
