#include "http/test_client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>

namespace arca::http::test {

std::string answer::field(std::string_view name) const {
  for (size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size(); at = head.find("\r\n", at + 2)) {
    const auto line = std::string_view(head).substr(at + 2, head.find("\r\n", at + 2) - at - 2);
    const auto colon = line.find(':');
    if (colon == name.size() && ::strncasecmp(line.data(), name.data(), colon) == 0)
      return std::string(line.substr(std::min(colon + 2, line.size())));
  }
  return {};
}

client::client(const std::string& address) {
  if (address.starts_with("unix://")) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strncpy(to.sun_path, address.c_str() + 7, sizeof to.sun_path - 1);
    fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd_.reset();
  } else {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    fd_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd_.reset();
  }
}

void client::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const auto n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void client::half_close() const {
  ::shutdown(fd_.get(), SHUT_WR);
}

bool client::more() {
  pollfd p{fd_.get(), POLLIN, 0};
  if (::poll(&p, 1, 10'000) <= 0) return false;
  std::array<char, 65536> data{};
  const auto n = ::recv(fd_.get(), data.data(), data.size(), 0);
  if (n <= 0) return false;
  buffered.append(data.data(), static_cast<size_t>(n));
  return true;
}

bool client::wait_for(std::string_view text) {
  while (buffered.find(text) == std::string::npos)
    if (!more()) return false;
  return true;
}

std::string client::rest() {
  while (more()) continue;
  return std::exchange(buffered, {});
}

answer client::receive(bool to_head) {
  answer a;
  if (!wait_for("\r\n\r\n")) return a;
  const auto end = buffered.find("\r\n\r\n") + 4;
  a.head = buffered.substr(0, end);
  buffered.erase(0, end);
  a.status = std::atoi(a.head.c_str() + 9);
  if (a.status == 100) return a;
  const auto length = a.field("Content-Length");
  a.chunked = a.field("Transfer-Encoding") == "chunked";
  if (to_head || a.status == 204 || a.status == 304 || a.status == 101) {
    a.complete = true;
  } else if (a.chunked) {
    for (;;) {
      while (buffered.find("\r\n") == std::string::npos)
        if (!more()) return a;
      const auto size = std::stoul(buffered, nullptr, 16);
      const auto start = buffered.find("\r\n") + 2;
      while (buffered.size() < start + size + 2)
        if (!more()) return a;
      a.body += buffered.substr(start, size);
      buffered.erase(0, start + size + 2);
      if (size == 0) break;
    }
    a.complete = true;
  } else if (!length.empty()) {
    while (buffered.size() < std::stoul(length))
      if (!more()) return a;
    a.body = buffered.substr(0, std::stoul(length));
    buffered.erase(0, a.body.size());
    a.complete = true;
  } else {
    a.body = rest();
    a.complete = true;
  }
  return a;
}

}  // namespace arca::http::test
