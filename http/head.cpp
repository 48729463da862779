#include "http/head.hpp"

#include <array>
#include <ctime>

#include "actors/model/info.hpp"
#include "http/errors.hpp"

namespace arca::http {

std::string_view standard_headers(response::standard which) {
  static const std::string server =
      "Ostype: linux\r\nServer: Arca/" + std::string(model::engine_version) + " (linux)\r\n";
  static const std::string basic = "Api-Version: " + std::string(model::newest_api) + "\r\n" + server;
  static const std::string all = "Docker-Experimental: false\r\n" + basic;
  switch (which) {
    case response::standard::all:
      return all;
    case response::standard::no_experimental:
      return basic;
    case response::standard::none:
      break;
  }
  return {};
}

std::string head_text(const response& r, const framing& f, std::string_view date) {
  std::string head;
  head.reserve(512);
  head += f.http_1_0 ? "HTTP/1.0 " : "HTTP/1.1 ";
  head += std::to_string(r.status);
  ((head += ' ') += reason_of(r.status)) += "\r\n";
  head += standard_headers(r.docker_headers);
  for (const auto& h : r.headers) (((head += h.name) += ": ") += h.value) += "\r\n";
  if (!r.content_type.empty()) ((head += "Content-Type: ") += r.content_type) += "\r\n";
  ((head += "Date: ") += date) += "\r\n";
  switch (f.how) {
    case framing::kind::length:
      ((head += "Content-Length: ") += std::to_string(f.length)) += "\r\n";
      break;
    case framing::kind::chunked:
      head += "Transfer-Encoding: chunked\r\n";
      break;
    case framing::kind::none:
    case framing::kind::until_close:
      break;
  }
  if (!f.keep_alive) {
    head += "Connection: close\r\n";
  } else if (f.http_1_0) {
    head += "Connection: keep-alive\r\n";
  }
  return head += "\r\n";
}

std::string hijack_head(const request& req, bool multiplexed, response::standard extra) {
  constexpr std::string_view raw = "application/vnd.docker.raw-stream";
  constexpr std::string_view frames = "application/vnd.docker.multiplexed-stream";
  std::string head;
  if (req.wants_upgrade()) {
    head += "HTTP/1.1 101 UPGRADED\r\nContent-Type: ";
    head += multiplexed && !req.version.before(42) ? frames : raw;
    head += "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
  } else {
    ((head += "HTTP/1.1 200 OK\r\nContent-Type: ") += raw) += "\r\n";
  }
  head += standard_headers(extra);
  return head += "\r\n";
}

std::string hijack_error(int status, std::string_view message) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + ' ';
  text += reason_of(status);
  text += "\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";
  return (text += message) += "\r\n";
}

std::string http_date(int64_t unix_seconds) {
  const auto t = static_cast<time_t>(unix_seconds);
  tm parts{};
  gmtime_r(&t, &parts);
  std::array<char, 64> text{};
  return {text.data(), strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

}  // namespace arca::http
