#include "http/connection.hpp"

#include <strings.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "http/errors.hpp"
#include "persistence/base/log.hpp"

namespace asio = boost::asio;

namespace arca::http {
namespace {
constexpr size_t small_read = 4u << 10, large_read = 64u << 10;
constexpr size_t discarded_body = 256u << 10;  // an unread body up to this is read away to keep the connection
constexpr std::chrono::milliseconds goodbye{500};

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}
}  // namespace

connection::connection(shard& home, std::unique_ptr<transport> socket)
    : home_(home), transport_(std::move(socket)), read_done_(home.io), pump_wake_(home.io), pump_ended_(home.io) {
  services_of_server = home.server.handed_through;
  home_.connections.insert(this);
}

connection::~connection() {
  home_.connections.erase(this);
  home_.server.connections.fetch_sub(1, std::memory_order_relaxed);
}

void connection::begin() {
  deadline_in(bounds().header_time);
  asio::co_spawn(
      home_.io, [](std::shared_ptr<connection> self) -> awaitable<void> { co_await self->run(); }(shared_from_this()),
      asio::detached);
}

void connection::sweep(clock::time_point now) {
  if (now >= deadline_) transport_->close();
}

void connection::drain() {
  keep_ = false;
  if (phase_ != phase::working) transport_->close();
}

ask_port& connection::port() {
  return *home_.port;
}

awaitable<void> connection::run() {
  bool more = co_await transport_->handshake();
  while (more) more = co_await serve();
  transport_->close();
}

// ---- one request

awaitable<bool> connection::serve() {
  req = {};
  parser_.emplace(req, bounds().header_bytes);
  keep_ = !home_.server.stopping.load(std::memory_order_relaxed);
  expects_continue_ = started_ = chunked_ = hijacked_ = pump_stop_ = false;
  watch_wanted_ = false;
  sent_status_ = 0;
  phase_ = phase::idle;
  if (!co_await read_header()) co_return false;
  phase_ = phase::working;
  no_deadline();
  if (const auto expected = req.headers.get("Expect"); same_word(expected, "100-continue")) {
    expects_continue_ = !parser_->complete();
  } else if (!expected.empty()) {
    keep_ = false;
    auto r = response::empty(417);
    r.docker_headers = response::standard::none;
    co_return co_await finish(r);
  }
  keep_ = keep_ && parser_->keep_alive();
  req.id = home_.server.last_request.fetch_add(1, std::memory_order_relaxed) + 1;
  const bool logged = spdlog::should_log(spdlog::level::debug);
  const auto began = logged ? clock::now() : clock::time_point{};

  const response r = co_await dispatch(*home_.server.routes, *this);

  on_gone_.clear();
  watch_wanted_ = false;
  bool usable = false;
  if (!hijacked_) usable = co_await finish(r);
  if (logged) {
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - began);
    log::debug("request", log::kv("id", static_cast<int64_t>(req.id)), log::kv("method", req.method),
               log::kv("target", req.target), log::kv("status", static_cast<int64_t>(sent_status_)),
               log::kv("us", static_cast<int64_t>(took.count())));
  }
  co_return usable;
}

awaitable<bool> connection::read_header() {
  for (bool begun = false;;) {
    while (!begun && !input_.empty() && (input_.view().front() == '\r' || input_.view().front() == '\n'))
      input_.consume(1);
    if (!input_.empty()) {
      if (!begun) deadline_in(bounds().header_time);
      begun = true;
      phase_ = phase::header;
      size_t used = 0;
      const auto p = parser_->read_header(input_.view(), used);
      input_.consume(used);
      if (p == request_parser::progress::done) co_return true;
      if (p == request_parser::progress::bad) {
        co_await refuse(parser_->why());
        co_return false;
      }
    } else if (!reading_) {
      input_.shrink(large_read / 4);
    }
    const size_t wanted = input_.size() < small_read ? small_read : large_read;
    if (!co_await fill(wanted)) co_return false;
  }
}

// Answers below the level of handlers, byte for byte as Go's server does, and ends the connection.
awaitable<void> connection::refuse(request_parser::refusal why) {
  std::string text = std::to_string(why.status) + ' ';
  text += reason_of(why.status);
  std::string_view body = text;
  if (why.status == 501) {  // there the detail is the body alone
    body = why.detail;
  } else if (!why.detail.empty()) {
    (text += ": ") += why.detail;
    body = text;
  }
  const std::array<std::string_view, 4> parts{
      "HTTP/1.1 ", text, "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n", body};
  deadline_in(bounds().body_stall);
  co_await write_parts(parts);
  co_await linger(goodbye);
}

awaitable<bool> connection::send(const response& r) {
  sent_status_ = r.status;
  framing f;
  f.keep_alive = keep_;
  f.http_1_0 = parser_->http_1_0();
  f.length = r.body.size();
  if (r.status == 204 || r.status == 304) f.how = framing::kind::none;
  auto head = head_text(r, f, home_.date_now());
  std::string_view body = r.body;
  if (f.how == framing::kind::none || req.method == "HEAD") body = {};
  if (body.size() < small_read) {
    head += body;
    body = {};
  }
  const std::array<std::string_view, 2> parts{head, body};
  deadline_in(bounds().body_stall + std::chrono::milliseconds(r.body.size() / 16));  // at least 16 kB/s
  const bool sent = co_await write_parts({parts.data(), body.empty() ? 1u : 2u});
  no_deadline();
  co_return sent;
}

// After the handler: the answer or its end, then whatever of the request was not read. True: the connection goes on.
awaitable<bool> connection::finish(const response& r) {
  bool sent = true;
  if (!r.already_sent && !started_) {
    const bool long_body = !parser_->complete() && (expects_continue_ || req.content_length > int64_t{discarded_body});
    if (long_body || pumping_) keep_ = false;
    sent = co_await send(r);
  } else if (r.cut_off || !r.already_sent) {  // failed after its beginning: the client must see that it is cut off
    keep_ = false;
    sent = false;
  } else if (chunked_) {
    constexpr std::array<std::string_view, 1> last{"0\r\n\r\n"};
    sent = co_await write_parts(last);
  }
  if (pumping_) {
    pump_stop_ = true;
    pump_wake_.notify();
    deadline_in(goodbye);
    while (pumping_) co_await pump_ended_.wait();
    no_deadline();
  }
  if (sent && keep_ && !parser_->complete()) keep_ = co_await discard_body(true);
  if (sent && keep_ && !gone_) co_return true;
  if (sent) co_await linger(goodbye);
  co_return false;
}

// What is left of the request's body. False: it does not end, or not soon. `wait`: for more than has come already.
awaitable<bool> connection::discard_body(bool wait) {
  std::string nothing;
  size_t total = 0;
  bool good = true;
  deadline_in(bounds().body_stall);
  while (good && !parser_->complete()) {
    size_t used = 0;
    const bool bad = parser_->read_body(input_.view(), used, nothing, large_read) == request_parser::progress::bad;
    input_.consume(used);
    total += nothing.size();
    nothing.clear();
    const bool stuck = used == 0 && input_.size() >= large_read;
    good = !bad && !stuck && total <= discarded_body;
    if (good && used == 0 && !parser_->complete()) good = wait && co_await fill(small_read);
  }
  no_deadline();
  co_return good;
}

// Half-closes and reads on for a while: closing with unread input would make the kernel drop what we sent last.
awaitable<void> connection::linger(std::chrono::milliseconds most) {
  deadline_in(most);
  co_await transport_->finish_writing();
  do {
    input_.consume(input_.size());
  } while (co_await fill(small_read));
  no_deadline();
}

// ---- input

// Waits for more bytes. False: there will be none. Several coroutines may wait; one of them reads.
awaitable<bool> connection::fill(size_t wanted) {
  if (input_ended_) co_return false;
  if (reading_) {
    for (const auto before = reads_; reads_ == before;) co_await read_done_.wait();
    co_return !input_ended_;
  }
  reading_ = true;
  const auto n = co_await transport_->read_some(input_.prepare(wanted), wanted);
  reading_ = false;
  ++reads_;
  if (n > 0) {
    input_.commit(static_cast<size_t>(n));
  } else {
    input_ended_ = true;
  }
  read_done_.notify();
  co_return n > 0;
}

awaitable<bool> connection::send_continue() {
  if (!expects_continue_) co_return true;
  expects_continue_ = false;
  constexpr std::array<std::string_view, 1> go_on{"HTTP/1.1 100 Continue\r\n\r\n"};
  co_return co_await write_parts(go_on);
}

awaitable<result<std::string>> connection::read_body(size_t limit) {
  const std::string too_large = "the request body is larger than " + std::to_string(limit) + " bytes";
  if (req.content_length > 0 && static_cast<uint64_t>(req.content_length) > limit) {
    keep_ = false;
    co_return fail(errc::invalid_argument, too_large);
  }
  std::string body;
  if (!co_await send_continue()) co_return fail(errc::cancelled, "the client has gone");
  while (!parser_->complete()) {
    size_t used = 0;
    const auto p = parser_->read_body(input_.view(), used, body, limit + 1);
    input_.consume(used);
    if (p == request_parser::progress::bad || (used == 0 && input_.size() >= large_read)) {
      keep_ = false;
      co_return fail(errc::invalid_argument, "malformed chunked encoding");
    }
    if (body.size() > limit) {
      keep_ = false;
      co_return fail(errc::invalid_argument, too_large);
    }
    if (used > 0 || parser_->complete()) continue;
    deadline_in(bounds().body_stall);
    const bool more = co_await fill(req.content_length > 0 && req.content_length < 4096 ? small_read : large_read);
    no_deadline();
    if (!more) {
      keep_ = false;
      co_return fail(errc::invalid_argument, "unexpected EOF");
    }
  }
  co_return body;
}

void connection::pump_body(std::shared_ptr<byte_channel> into) {
  pumping_ = true;
  asio::co_spawn(
      home_.io,
      [](std::shared_ptr<connection> self, std::shared_ptr<byte_channel> channel) -> awaitable<void> {
        co_await self->pump(std::move(channel));
        self->pumping_ = false;
        self->pump_ended_.notify();
      }(shared_from_this(), std::move(into)),
      asio::detached);
}

awaitable<void> connection::pump(std::shared_ptr<byte_channel> into) {
  wake_pump_by(*into);
  if (!co_await send_continue()) co_return into->close(error(errc::cancelled, "the client has gone"));
  while (!parser_->complete()) {
    std::string piece;
    size_t used = 0;
    const auto p = parser_->read_body(input_.view(), used, piece, large_read);
    input_.consume(used);
    if (p == request_parser::progress::bad || (used == 0 && input_.size() >= large_read)) {
      keep_ = false;
      co_return into->close(error(errc::invalid_argument, "malformed chunked encoding"));
    }
    if (!piece.empty() && !co_await push(*into, std::move(piece))) co_return;
    if (used > 0 || parser_->complete()) continue;
    if (!co_await fill(large_read)) {
      keep_ = false;
      into->close(error(errc::cancelled, "unexpected EOF"));
      gone();
      co_return;
    }
  }
  into->close();
}

// The channel's callbacks come on other threads.
void connection::wake_pump_by(byte_channel& channel) {
  auto wake = [weak = weak_from_this(), executor = home_.io.get_executor()] {
    asio::post(executor, [weak] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      self->pump_ready_ = true;
      self->pump_wake_.notify();
    });
  };
  channel.on_writable(wake);
  channel.on_abort(wake);
}

// False: the consumer has gone, or the answer is finished and nobody needs the rest.
awaitable<bool> connection::push(byte_channel& into, std::string data) {
  pump_ready_ = false;
  const auto pushed = into.push(std::move(data));
  if (pushed == byte_channel::push_result::full)
    while (!pump_ready_ && !pump_stop_) co_await pump_wake_.wait();
  co_return pushed != byte_channel::push_result::closed && !into.aborted() && !pump_stop_;
}

// ---- output

awaitable<bool> connection::write_parts(std::span<const std::string_view> parts) {
  size_t written = transport_->try_write(parts);
  std::vector<std::string_view> rest;
  for (auto part : parts) {
    const auto n = std::min(written, part.size());
    written -= n;
    part.remove_prefix(n);
    if (!part.empty()) rest.push_back(part);
  }
  if (rest.empty()) co_return true;
  co_return co_await transport_->write(rest);
}

awaitable<bool> connection::start(response head) {
  started_ = true;
  sent_status_ = head.status;
  chunked_ = !parser_->http_1_0();
  keep_ = keep_ && chunked_;
  phase_ = phase::endless;
  framing f;
  f.how = chunked_ ? framing::kind::chunked : framing::kind::until_close;
  f.keep_alive = keep_;
  f.http_1_0 = !chunked_;
  const auto text = head_text(head, f, home_.date_now());
  const std::array<std::string_view, 1> parts{text};
  co_return co_await write_parts(parts);
}

awaitable<bool> connection::write(std::string_view data) {
  if (data.empty()) co_return true;
  batch one{std::make_shared<const std::string>(data)};
  co_return co_await write_batch(one, chunked_);
}

awaitable<bool> connection::write_batch(const batch& data, bool chunked) {
  std::vector<std::string_view> parts;
  parts.reserve(data.size() + 2);
  size_t total = 0;
  for (const auto& piece : data) total += piece->size();
  std::array<char, 24> size_line{};
  if (chunked)
    parts.emplace_back(size_line.data(), std::snprintf(size_line.data(), size_line.size(), "%zx\r\n", total));
  for (const auto& piece : data) parts.emplace_back(*piece);
  if (chunked) parts.emplace_back("\r\n");
  co_return co_await write_parts(parts);
}

awaitable<result<void>> connection::copy(std::shared_ptr<byte_channel> from) {
  on_gone([from] { from->abort(); });
  for (;;) {
    const auto [ec, data] = co_await from->read(asio::as_tuple(asio::use_awaitable));
    if (ec) co_return fail(errc::cancelled, "the client has gone");
    if (data.empty()) break;
    if (!co_await write_batch(data, chunked_)) {
      from->abort();
      co_return fail(errc::cancelled, "the client has gone");
    }
  }
  if (auto failure = from->failure()) co_return fail(std::move(*failure));
  co_return result<void>{};
}

// ---- the client goes away

void connection::on_gone(std::function<void()> callback) {
  phase_ = phase::endless;
  if (gone_) return callback();
  on_gone_.push_back(std::move(callback));
  watch_wanted_ = true;
  if (watching_) return;
  watching_ = true;
  asio::co_spawn(
      home_.io, [](std::shared_ptr<connection> self) -> awaitable<void> { co_await self->watch(); }(shared_from_this()),
      asio::detached);
}

// Reads ahead while a handler works, so that the end of input is seen; what comes is the next request's.
awaitable<void> connection::watch() {
  while (watch_wanted_ && !input_ended_) {
    if (input_.size() < large_read) {
      co_await fill(small_read);
    } else {
      co_await transport_->wait_hangup();
      input_ended_ = watch_wanted_;
    }
  }
  watching_ = false;
  if (watch_wanted_) gone();
}

void connection::gone() {
  if (gone_) return;
  gone_ = true;
  const auto callbacks = std::move(on_gone_);
  on_gone_.clear();
  for (const auto& callback : callbacks) callback();
}

// ---- hijacked

// Docker Engine drops what has come with the head. A body with a length may come in pieces; chunks need not have an
// end.
awaitable<void> connection::begin_hijack(std::string head) {
  if (!co_await discard_body(req.content_length >= 0)) input_.consume(input_.size());
  hijacked_ = true;
  keep_ = false;
  phase_ = phase::endless;
  watch_wanted_ = false;
  on_gone_.clear();
  sent_status_ = head.size() > 12 ? std::atoi(head.c_str() + 9) : 0;
  const std::array<std::string_view, 1> parts{head};
  head_sent_ = co_await write_parts(parts);
}

awaitable<void> connection::run_hijacked(stream s) {
  if (!head_sent_) {
    if (s.output) s.output->abort();
    if (s.input) s.input->close(error(errc::cancelled, "the client has gone"));
    co_return;
  }
  const auto self = shared_from_this();
  if (s.output) asio::co_spawn(home_.io, abort_on_hangup(s.output), [self](const std::exception_ptr&) {});
  if (s.output || s.input) {
    pumping_ = true;
    asio::co_spawn(home_.io, pump_input(s.input), [self](const std::exception_ptr&) {
      self->pumping_ = false;
      self->pump_ended_.notify();
    });
  }
  while (s.output) {
    const auto [ec, data] = co_await s.output->read(asio::as_tuple(asio::use_awaitable));
    if (ec || data.empty()) break;
    if (!co_await write_batch(data, false)) {
      s.output->abort();
      break;
    }
  }
  if (!s.output)
    while (pumping_) co_await pump_ended_.wait();
  co_await transport_->finish_writing();
  pump_stop_ = true;  // what still comes is read and dropped
  pump_wake_.notify();
  if (pumping_) {
    deadline_in(bounds().linger);
    while (pumping_) co_await pump_ended_.wait();
  } else {
    co_await linger(bounds().linger);
  }
}

// Client → engine until the client stops writing. Without a consumer the bytes are dropped, so that nothing unread is
// left when the connection is closed.
awaitable<void> connection::pump_input(std::shared_ptr<byte_channel> into) {
  if (into) wake_pump_by(*into);
  bool consumed = into != nullptr;
  do {
    if (input_.empty()) continue;
    std::string data(input_.view());
    input_.consume(data.size());
    if (consumed && !pump_stop_) consumed = co_await push(*into, std::move(data));
  } while (co_await fill(large_read));
  if (into) into->close();
}

awaitable<void> connection::abort_on_hangup(std::shared_ptr<byte_channel> output) {
  co_await transport_->wait_hangup();
  output->abort();
}

}  // namespace arca::http
