#include "http/request_parser.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace beast = boost::beast;
using error_code = boost::system::error_code;

namespace arca::http {

struct request_parser::state final : beast::http::basic_parser<true> {
  state(request& r, size_t limit) : into(r) {
    header_limit(static_cast<std::uint32_t>(limit));
    body_limit(boost::none);
  }

  request& into;
  std::string* body = nullptr;
  size_t room = 0;
  std::uint64_t chunk_left = 0;  ///< of the chunk that has begun
  int version = 11;
  int refusal = 400;

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int http_version,
                       error_code&) override {
    into.method.assign(method.data(), method.size());
    into.target.assign(target.data(), target.size());
    version = http_version;
  }
  void on_response_impl(int, beast::string_view, int, error_code&) override {}
  void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value, error_code&) override {
    into.headers.add({name.data(), name.size()}, {value.data(), value.size()});
  }
  void on_header_impl(error_code&) override {
    const auto length = content_length();
    into.content_length = chunked() ? -1 : length ? static_cast<int64_t>(*length) : 0;
  }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view data, error_code&) override { return take(data); }
  void on_chunk_header_impl(std::uint64_t size, beast::string_view, error_code&) override { chunk_left = size; }
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view data, error_code&) override {
    const size_t n = take(data);
    chunk_left -= n;
    return n;
  }
  /// Beast asserts five bytes where it looks at the last chunk again, though four can be there: "0", CRLF, one more.
  bool too_little_of_last_chunk(std::string_view bytes) {
    return chunked() && chunk_left == 0 && bytes.size() < 5 && bytes.front() == '0';
  }
  void on_finish_impl(error_code&) override {}

  size_t take(beast::string_view data) {
    const size_t n = std::min(data.size(), room);
    body->append(data.data(), n);
    room -= n;
    return n;
  }
};

request_parser::request_parser(request& into, size_t header_limit)
    : state_(std::make_unique<state>(into, header_limit)) {}
request_parser::~request_parser() = default;

request_parser::progress request_parser::read_header(std::string_view data, size_t& used) {
  error_code ec;
  used = state_->put(boost::asio::const_buffer(data.data(), data.size()), ec);
  if (ec == beast::http::error::need_more) return progress::more;
  if (ec) {
    state_->refusal = ec == beast::http::error::header_limit ? 431 : 400;
    return progress::bad;
  }
  return state_->is_header_done() ? progress::done : progress::more;
}

request_parser::progress request_parser::read_body(std::string_view data, size_t& used, std::string& out, size_t most) {
  state_->body = &out;
  state_->room = most > out.size() ? most - out.size() : 0;
  used = 0;
  while (!state_->is_done() && used < data.size() && state_->room > 0) {
    if (state_->too_little_of_last_chunk(data.substr(used))) break;
    error_code ec;
    const auto n = state_->put(boost::asio::const_buffer(data.data() + used, data.size() - used), ec);
    used += n;
    if (ec == beast::http::error::need_more) break;
    if (ec) return progress::bad;
  }
  return state_->is_done() ? progress::done : progress::more;
}

bool request_parser::complete() const {
  return state_->is_done();
}
bool request_parser::keep_alive() const {
  return state_->keep_alive();
}
bool request_parser::http_1_0() const {
  return state_->version < 11;
}
int request_parser::refusal() const {
  return state_->refusal;
}

}  // namespace arca::http
