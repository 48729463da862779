#include "guest/vm/uevents.hpp"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>

namespace arca::guest {
namespace {
using clock = std::chrono::steady_clock;
}  // namespace

uevents::uevents() : socket_(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT)) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;  // the kernel's own
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) socket_.reset();
}

bool uevents::wait(std::string_view subsystem, std::chrono::milliseconds limit,
                   const std::function<bool()>& ready) const {
  const auto end = clock::now() + limit;
  std::string wanted("SUBSYSTEM=");
  wanted.append(subsystem).push_back('\0');
  while (!ready()) {
    for (bool told = false; !told;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - clock::now()).count();
      pollfd news{socket_.get(), POLLIN, 0};
      if (left <= 0 || poll(&news, 1, static_cast<int>(left)) == 0) return ready();
      std::array<char, 8192> event;
      const ssize_t n = recv(socket_.get(), event.data(), event.size(), 0);
      if (n >= 0) {
        told = std::string_view(event.data(), static_cast<size_t>(n)).find(wanted) != std::string_view::npos;
      } else if (errno == ENOBUFS) {
        told = true;  // events were lost, perhaps ours
      } else if (errno != EAGAIN && errno != EINTR) {
        return ready();
      }
    }
  }
  return true;
}

}  // namespace arca::guest
