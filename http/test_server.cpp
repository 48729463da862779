#include "http/test_server.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>

#include "actors/streams/byte_channel.hpp"
#include "http/errors.hpp"
#include "http/head.hpp"

namespace asio = boost::asio;

namespace arca::http::test {

counters& test_server::seen() {
  static counters all;
  return all;
}

namespace {

awaitable<void> sleep_ms(int ms) {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(ms));
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

awaitable<response> hello(call& c) {
  co_return response::text(200, "hello " + c.req.param + c.req.query.get("q"));
}

awaitable<response> echo(call& c) {
  auto body = co_await c.read_body(1u << 20);
  if (!body) co_return error_response(body.error());
  co_return response::text(200, std::move(*body));
}

awaitable<response> ignore(call&) {
  co_return response::empty(204);
}
awaitable<response> broken(call&) {
  co_await sleep_ms(1);
  throw std::runtime_error("boom");
}
awaitable<response> broken_late(call& c) {
  co_await c.start(response::json(200, ""));
  co_await c.write("{\"a\":");
  throw std::runtime_error("boom");
}

// A thread reads what arrives, then ends the answer.
awaitable<response> upload(call& c) {
  auto channel = std::make_shared<byte_channel>(1u << 20);
  auto out = std::make_shared<byte_channel>();
  const auto fail_at = c.req.query.get("stop");
  std::thread([channel, out, stop = fail_at.empty() ? SIZE_MAX : std::stoul(fail_at)] {
    size_t total = 0;
    for (auto data = channel->read_blocking(); !data.empty(); data = channel->read_blocking()) {
      for (const auto& piece : data) total += piece->size();
      if (total > stop) return channel->abort();
    }
    test_server::seen().uploaded += total;
    test_server::seen().upload_failed += channel->failure().has_value() ? 1 : 0;
    out->push("{\"status\":\"loaded\"}\n");
    out->close();
  }).detach();
  c.pump_body(channel);
  if (!fail_at.empty()) {
    while (!channel->aborted()) co_await sleep_ms(2);
    co_return error_response(400, "enough");
  }
  co_await c.start(response::json(200, ""));
  co_await c.copy(out);
  co_return response::sent();
}

// `q` kilobytes from a thread in pieces of 10,000 bytes.
awaitable<response> download(call& c) {
  auto channel = std::make_shared<byte_channel>(256u << 10);
  const size_t total = std::stoul(c.req.query.get("kb")) * 1000;
  std::thread([channel, total] {
    for (size_t sent = 0; sent < total;) {
      const auto n = std::min<size_t>(10'000, total - sent);
      if (!channel->push_blocking(std::string(n, static_cast<char>('a' + sent / 10'000 % 26)))) break;
      sent += n;
    }
    channel->close();
  }).detach();
  co_await c.start(response::text(200, ""));
  co_await c.copy(channel);
  co_return response::sent();
}

awaitable<response> wait_long(call& c) {
  bool gone = false;
  asio::steady_timer timer(co_await asio::this_coro::executor,
                           std::chrono::milliseconds(std::stoi("0" + c.req.query.get("ms"))));
  co_await c.start(response::json(200, ""));
  c.on_gone([&] {
    gone = true;
    ++test_server::seen().gone;
    timer.cancel();
  });
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (gone) co_return response::broken();
  co_await c.write("{\"StatusCode\":0}\n");
  co_return response::sent();
}

// Echoes in upper case; after the client's EOF says "bye" and ends.
awaitable<response> shell(call& c) {
  stream s{std::make_shared<byte_channel>(), std::make_shared<byte_channel>()};
  s.output->on_abort([] { ++test_server::seen().output_aborted; });
  std::thread([s] {
    size_t total = 0;
    for (auto data = s.input->read_blocking(); !data.empty(); data = s.input->read_blocking())
      for (const auto& piece : data) {
        std::string text = *piece;
        total += text.size();
        for (auto& b : text) b = static_cast<char>(std::toupper(b));
        if (!s.output->push_blocking(std::move(text))) break;
      }
    ++test_server::seen().stdin_closed;
    s.output->push("bye " + std::to_string(total) + "\n");
    s.output->close();
  }).detach();
  co_await c.hijack(hijack_head(c.req, true, response::standard::none), s);
  co_return response::sent();
}

awaitable<response> shell_error(call& c) {
  co_await c.hijack(hijack_error(404, "No such container: x"), {});
  co_return response::sent();
}

awaitable<response> who(call& c) {
  co_return response::text(
      200, c.req.method + " " + c.req.path + " [" + c.req.param + "] 1." + std::to_string(c.req.version.minor));
}

constexpr std::array table{
    route{"GET", "/hello", hello},
    route{"HEAD", "/hello", hello},
    route{"GET", "/hello/{name}/x", hello},
    route{"POST", "/echo", echo},
    route{"POST", "/ignore", ignore},
    route{"GET", "/throw", broken},
    route{"GET", "/throw-late", broken_late},
    route{"POST", "/upload", upload},
    route{"GET", "/download", download},
    route{"GET", "/wait", wait_long},
    route{"POST", "/shell", shell},
    route{"POST", "/shell-error", shell_error},
    route{"DELETE", "/things/{name}", who},
    route{"GET", "/things/json", who},
    route{"GET", "/things/{name}/json", who},
};

}  // namespace

test_server::test_server(limits bounds, server_options options, bool tcp) : routes(std::make_unique<router>(table)) {
  static std::atomic<int> count{0};
  options.bounds = bounds;
  std::vector<listener> where{
      {.path = "/tmp/http-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count) + ".sock"}};
  if (tcp) where.push_back({.host = "127.0.0.1", .tls = !options.tls_certificate.empty()});
  auto made = server::start(options, where, *routes, nullptr, nullptr);
  if (!made) FAIL(made.error().message());
  running = std::move(*made);
}

}  // namespace arca::http::test
