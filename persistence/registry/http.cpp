// The only file of the registry client that includes Beast.
#include "persistence/registry/http.hpp"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <limits>

#include "persistence/base/text.hpp"
#include "persistence/registry/socket.hpp"

namespace arca::registry {
namespace {
namespace http = boost::beast::http;
using boost::beast::error_code;

constexpr size_t piece_size = 256u << 10;
constexpr uint32_t header_limit = 64u << 10;
constexpr size_t max_idle = 8;

std::string origin_key(const url& u) {
  return u.scheme + "://" + lower(u.host) + ':' + u.port;
}

class response final : public http_response {
 public:
  response(http_pool& pool, url origin, std::unique_ptr<connection> c, bool head)
      : pool_(pool), origin_(std::move(origin)), connection_(std::move(c)), head_(head) {
    start_parser();
  }

  outcome<void> read_header() {
    for (;;) {
      error_code ec;
      const auto used = parser_->put(buffer_.data(), ec);
      buffer_.consume(used);
      if (ec && ec != http::error::need_more) return malformed(ec);
      if (parser_->is_header_done()) {
        const auto code = parser_->get().result_int();
        if (code >= 200 || code == 101) break;
        start_parser();  // 100 Continue and the like: the answer follows
        continue;
      }
      if (auto more = fill(); !more)
        return tl::make_unexpected(more.error());
      else if (*more == 0)
        return transport_failure(buffer_.size() == 0 && !any_ ? "EOF" : "unexpected EOF", true);
    }
    const auto length = parser_->content_length();
    if (length) length_ = static_cast<int64_t>(std::min<uint64_t>(*length, std::numeric_limits<int64_t>::max()));
    left_ = length_;
    if (parser_->is_done() || head_ || length_ == 0) finish();
    return {};
  }

  int status() const noexcept override { return static_cast<int>(parser_->get().result_int()); }
  std::string status_text() const override {
    const auto& m = parser_->get();
    auto reason = std::string(m.reason());
    if (reason.empty()) reason = std::string(http::obsolete_reason(m.result()));
    return std::to_string(m.result_int()) + ' ' + reason;
  }
  std::string header(std::string_view name) const override {
    return std::string(parser_->get()[boost::beast::string_view(name.data(), name.size())]);
  }
  std::vector<std::string> headers(std::string_view name) const override {
    std::vector<std::string> out;
    const auto range = parser_->get().equal_range(boost::beast::string_view(name.data(), name.size()));
    for (auto i = range.first; i != range.second; ++i) out.emplace_back(i->value());
    return out;
  }
  int64_t content_length() const noexcept override { return length_; }
  reach peer() const noexcept override { return peer_; }

  outcome<std::string_view> read() override {
    if (done_) return std::string_view();
    if (parser_->chunked()) return read_chunked();
    return read_plain();
  }

 private:
  void start_parser() {
    parser_ = std::make_unique<http::response_parser<http::buffer_body>>();
    parser_->header_limit(header_limit);
    parser_->body_limit(boost::none);
    parser_->skip(head_);
  }

  tl::unexpected<failure> malformed(const error_code& ec) {
    return transport_failure(ec == http::error::header_limit
                                 ? "net/http: server response headers exceeded 65536 bytes; aborted"
                                 : "net/http: malformed HTTP response: " + ec.message());
  }

  outcome<size_t> fill() {
    auto space = buffer_.prepare(piece_size);
    auto n = connection_->read_some(space.data(), space.size());
    if (!n) return n;
    buffer_.commit(*n);
    any_ = any_ || *n > 0;
    return n;
  }

  // Bodies with a length, or until the end of the connection: straight from the socket.
  outcome<std::string_view> read_plain() {
    if (given_ > 0) {
      buffer_.consume(given_);
      given_ = 0;
    }
    if (left_ == 0) {
      finish();
      return std::string_view();
    }
    if (buffer_.size() == 0) {
      auto n = fill();
      if (!n) return tl::make_unexpected(n.error());
      if (*n == 0) {
        if (left_ > 0) return transport_failure("unexpected EOF", true);
        done_ = true;
        connection_.reset();
        return std::string_view();
      }
    }
    given_ = buffer_.size();
    if (left_ >= 0) given_ = std::min(given_, static_cast<size_t>(left_));
    if (left_ > 0) left_ -= static_cast<int64_t>(given_);
    return std::string_view(static_cast<const char*>(buffer_.data().data()), given_);
  }

  outcome<std::string_view> read_chunked() {
    if (chunk_.empty()) chunk_.resize(piece_size);
    auto& body = parser_->get().body();
    body.data = chunk_.data();
    body.size = chunk_.size();
    body.more = true;
    for (;;) {
      error_code ec;
      if (buffer_.size() > 0) {
        const auto used = parser_->put(buffer_.data(), ec);
        buffer_.consume(used);
        if (ec && ec != http::error::need_more && ec != http::error::need_buffer) return malformed(ec);
      }
      const auto got = chunk_.size() - body.size;
      if (parser_->is_done()) finish();
      if (got > 0) return std::string_view(chunk_.data(), got);
      if (done_) return std::string_view();
      if (ec == http::error::need_more || buffer_.size() == 0) {
        auto n = fill();
        if (!n) return tl::make_unexpected(n.error());
        if (*n == 0) return transport_failure("unexpected EOF", true);
      }
    }
  }

  void finish() {
    if (done_) return;
    done_ = true;
    if (parser_->get().keep_alive() &&
        (length_ >= 0 || parser_->chunked() || head_ || status() == 204 || status() == 304) && buffer_.size() == 0)
      pool_.keep(origin_, std::move(connection_));
    connection_.reset();
  }

  http_pool& pool_;
  url origin_;
  std::unique_ptr<connection> connection_;
  const reach peer_ = connection_->peer();
  const bool head_;
  std::unique_ptr<http::response_parser<http::buffer_body>> parser_;
  boost::beast::flat_buffer buffer_;
  std::string chunk_;
  int64_t length_ = -1, left_ = -1;
  size_t given_ = 0;
  bool done_ = false, any_ = false;
};

std::string wire_form(const http_request& request, const std::string& user_agent) {
  std::string out = request.method + ' ' + request.to.target + " HTTP/1.1\r\nHost: " + request.to.authority() +
                    "\r\nUser-Agent: " + user_agent + "\r\n";
  for (const auto& [name, value] : request.headers) out += name + ": " + value + "\r\n";
  if (!request.body.empty()) out += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  return out + "\r\n" + request.body;
}
}  // namespace

outcome<std::string> http_response::read_all(size_t limit) {
  std::string out;
  for (;;) {
    auto piece = read();
    if (!piece) return tl::make_unexpected(piece.error());
    if (piece->empty()) return out;
    if (piece->size() > limit - out.size())
      return give_up(errc::invalid_argument,
                     "the registry's answer is longer than " + std::to_string(limit) + " bytes");
    out += *piece;
  }
}

http_pool::http_pool(std::string user_agent, const stop_signal& stop)
    : user_agent_(std::move(user_agent)), stop_(stop) {}
http_pool::~http_pool() = default;

void http_pool::keep(const url& origin, std::unique_ptr<connection> c) {
  const std::lock_guard guard(lock_);
  if (c != nullptr && idle_.size() < max_idle) idle_.emplace(origin_key(origin), std::move(c));
}

std::unique_ptr<connection> http_pool::take(const url& origin) {
  const std::lock_guard guard(lock_);
  const auto key = origin_key(origin);
  for (auto i = idle_.find(key); i != idle_.end() && i->first == key; i = idle_.erase(i)) {
    if (!i->second->idle()) continue;
    auto out = std::move(i->second);
    idle_.erase(i);
    return out;
  }
  return nullptr;
}

outcome<std::unique_ptr<http_response>> http_pool::send(const http_request& request, const dial_options& options) {
  const auto text = wire_form(request, user_agent_);
  for (;;) {
    auto c = take(request.to);
    // A kept connection may have led to an address that this request may not go to.
    if (c != nullptr && static_cast<int>(c->peer()) > static_cast<int>(options.nearest)) c = nullptr;
    const bool kept = c != nullptr;
    if (!kept) {
      auto fresh = dial(request.to, options, stop_);
      if (!fresh) return fail(in_request(request, std::move(fresh.error())));
      c = std::move(*fresh);
    }
    auto sent = c->write_all(text);
    auto answer = std::make_unique<response>(*this, request.to, std::move(c), request.method == "HEAD");
    if (sent) sent = answer->read_header();
    if (sent) return answer;
    // The registry may have closed a kept connection just now: once more with another.
    if (kept && !sent.error().final) continue;
    return fail(in_request(request, std::move(sent.error())));
  }
}

failure in_request(const http_request& request, failure why) {
  if (why.what.code() == errc::cancelled) return why;
  std::string method = lower(request.method);
  method[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(method[0])));
  why.what = error(why.what.code(), method + ' ' + go_quote(request.to.string()) + ": " + why.what.message());
  return why;
}

}  // namespace arca::registry
