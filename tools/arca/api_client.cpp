#include "tools/arca/api_client.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "persistence/base/fs.hpp"
#include "persistence/base/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca::cli {
namespace {
constexpr size_t answer_limit = 64u << 20;

/// Reads as much as there is; empty at the end.
result<std::string> read_some(int fd) {
  std::array<char, 16384> buffer{};
  for (;;) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n >= 0) return std::string(buffer.data(), static_cast<size_t>(n));
    if (errno != EINTR) return fail_errno("read from the daemon");
  }
}

struct head {
  int status = 0;
  bool chunked = false;
  std::optional<uint64_t> length;  // of a body that is not chunked; none: until the end
  std::string rest;                // bytes behind the header
};

result<head> read_head(int fd) {
  std::string data;
  size_t end = std::string::npos;
  while ((end = data.find("\r\n\r\n")) == std::string::npos) {
    ARCA_TRY(more, read_some(fd));
    if (more.empty()) return fail(errc::unavailable, "the daemon closed the connection");
    data += more;
    if (data.size() > 1 << 20) return fail(errc::internal, "answer header too large");
  }
  head h;
  if (std::sscanf(data.c_str(), "HTTP/1.1 %d", &h.status) != 1) return fail(errc::internal, "not an HTTP answer");
  const auto fields = lower(data.substr(0, end));
  h.chunked = fields.find("transfer-encoding: chunked") != std::string::npos;
  if (const auto at = fields.find("\r\ncontent-length: "); at != std::string::npos)
    h.length = std::strtoull(fields.c_str() + at + 18, nullptr, 10);
  h.rest = data.substr(end + 4);
  return h;
}

/// Feeds the body's bytes to `sink`.
result<void> read_body(int fd, head& h, const std::function<result<void>(std::string_view)>& sink) {
  std::string data = std::move(h.rest);
  if (!h.chunked) {
    for (uint64_t got = 0;;) {
      if (!data.empty()) ARCA_CHECK(sink(data));
      got += data.size();
      if (h.length && got >= *h.length) return {};
      ARCA_TRY(more, read_some(fd));
      if (more.empty()) return {};
      data = std::move(more);
    }
  }
  for (;;) {
    size_t line = 0;
    while ((line = data.find("\r\n")) == std::string::npos) {
      ARCA_TRY(more, read_some(fd));
      if (more.empty()) return fail(errc::unavailable, "the answer was cut off");
      data += more;
    }
    const auto size = std::strtoull(data.c_str(), nullptr, 16);
    if (size > answer_limit) return fail(errc::internal, "chunk too large");
    data.erase(0, line + 2);
    if (size == 0) return {};
    while (data.size() < size + 2) {
      ARCA_TRY(more, read_some(fd));
      if (more.empty()) return fail(errc::unavailable, "the answer was cut off");
      data += more;
    }
    ARCA_CHECK(sink(std::string_view(data).substr(0, size)));
    data.erase(0, size + 2);
  }
}
}  // namespace

std::string sentence_of(int status, const std::string& body) {
  const auto document = nlohmann::json::parse(body, nullptr, false);
  const auto message = json_fields::text(document, "message");
  return message.empty() ? "the daemon answered " + std::to_string(status) : message;
}

result<unique_fd> api_client::connect() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof(address.sun_path)) return fail(errc::invalid_argument, "socket path too long: " + path_);
  std::memcpy(address.sun_path, path_.c_str(), path_.size());
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    return fail(errc::unavailable, "the daemon does not answer at " + path_ + ": " + std::strerror(errno));
  return fd;
}

result<response> api_client::call(std::string_view method, std::string_view target, std::string_view body) const {
  ARCA_TRY(fd, connect());
  std::string request =
      std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: arca\r\nConnection: close\r\n";
  if (!body.empty()) request += "Content-Type: application/json\r\n";
  if (method != "GET") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  request += "\r\n";
  request += body;
  ARCA_CHECK(fs::write_all(fd.get(), request));
  ARCA_TRY(h, read_head(fd.get()));
  response r;
  r.status = h.status;
  ARCA_CHECK(read_body(fd.get(), h, [&](std::string_view part) -> result<void> {
    r.body += part;
    if (r.body.size() > answer_limit) return fail(errc::internal, "answer too large");
    return {};
  }));
  return r;
}

result<int> api_client::upload(std::string_view target, int file, uint64_t size,
                               const std::function<void(std::string_view)>& on_line) const {
  ARCA_TRY(fd, connect());
  ARCA_CHECK(fs::write_all(fd.get(), "POST " + std::string(target) +
                                         " HTTP/1.1\r\nHost: arca\r\nConnection: close\r\nContent-Type: "
                                         "application/x-tar\r\nContent-Length: " +
                                         std::to_string(size) + "\r\n\r\n"));
  std::string buffer(256 << 10, '\0');
  for (uint64_t left = size; left > 0;) {
    const ssize_t n = ::read(file, buffer.data(), std::min<uint64_t>(left, buffer.size()));
    if (n < 0) return fail_errno("read the archive");
    if (n == 0) return fail(errc::invalid_argument, "the archive became shorter while it was read");
    left -= static_cast<uint64_t>(n);
    if (!fs::write_all(fd.get(), std::string_view(buffer).substr(0, static_cast<size_t>(n))))
      break;  // the answer says why
  }
  ARCA_TRY(h, read_head(fd.get()));
  std::string line;
  ARCA_CHECK(read_body(fd.get(), h, [&](std::string_view part) -> result<void> {
    line += part;
    for (size_t at = 0; (at = line.find('\n')) != std::string::npos; line.erase(0, at + 1)) on_line(line.substr(0, at));
    return {};
  }));
  if (!line.empty()) on_line(line);
  return h.status;
}

result<api_client::hijacked> api_client::hijack(std::string_view target) const {
  ARCA_TRY(fd, connect());
  ARCA_CHECK(fs::write_all(fd.get(), "POST " + std::string(target) +
                                         " HTTP/1.1\r\nHost: arca\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                                         "Content-Length: 0\r\n\r\n"));
  ARCA_TRY(h, read_head(fd.get()));
  if (h.status != 101) {
    std::string body;
    ARCA_CHECK(read_body(fd.get(), h, [&](std::string_view part) -> result<void> {
      body += part;
      return body.size() > answer_limit ? fail(errc::internal, "answer too large") : result<void>{};
    }));
    return fail(errc::internal, sentence_of(h.status, body));
  }
  hijacked out;
  out.socket = std::move(fd);
  out.early = std::move(h.rest);
  return out;
}

}  // namespace arca::cli
