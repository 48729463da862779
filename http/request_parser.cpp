#include "http/request_parser.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <charconv>

namespace beast = boost::beast;
using error_code = boost::system::error_code;

namespace arca::http {
namespace {

// httpguts.ValidHostHeader
bool valid_host(std::string_view host) {
  constexpr std::string_view marks = "!$%&()*+,-.:;=[']_~";
  return std::all_of(host.begin(), host.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           marks.find(c) != std::string_view::npos;
  });
}

}  // namespace

struct request_parser::state final : beast::http::basic_parser<true> {
  state(request& r, size_t header_bytes) : into(r), limit(header_bytes) {
    header_limit(static_cast<std::uint32_t>(limit));
    body_limit(boost::none);
  }

  request& into;
  std::string* body = nullptr;
  size_t room = 0;
  std::uint64_t chunk_left = 0;  ///< of the chunk that has begun
  int version = 11;
  const size_t limit;  ///< of the header
  size_t read = 0;     ///< of the header so far
  std::string lines;   ///< those that Beast has not seen, each with CRLF
  bool has_request_line = false, other_version = false, has_length = false;
  int hosts = 0;
  refusal why;

  void on_request_impl(beast::http::verb, beast::string_view method, beast::string_view target, int http_version,
                       error_code&) override {
    into.method.assign(method.data(), method.size());
    into.target.assign(target.data(), target.size());
    version = http_version;
  }
  void on_response_impl(int, beast::string_view, int, error_code&) override {}
  void on_field_impl(beast::http::field f, beast::string_view name, beast::string_view value, error_code& ec) override {
    using beast::http::field;
    into.headers.add({name.data(), name.size()}, {value.data(), value.size()});
    if (f == field::host) ++hosts;
    // Where another coding or "2, 2" ends, a proxy before us might see otherwise.
    if (f == field::transfer_encoding && !beast::iequals(value, "chunked"))
      ec = beast::http::error::bad_transfer_encoding;
    if (f == field::content_length) {
      has_length = true;
      int64_t length = 0;
      const auto [end, fault] = std::from_chars(value.begin(), value.end(), length);
      if (fault != std::errc() || end != value.end()) ec = beast::http::error::bad_content_length;
    }
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

  // Beast knows HTTP/1.0 and 1.1. For Go 1.2 to 1.9 are as good as that; it refuses others once it has read the header.
  void add_request_line(std::string_view line) {
    has_request_line = true;
    lines += line;
    constexpr std::string_view form = " HTTP/x.y";
    if (line.size() < form.size()) return;
    const auto proto = std::string_view(lines).substr(lines.size() - form.size());
    char &major = lines[lines.size() - 3], &minor = lines[lines.size() - 1];
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (!proto.starts_with(form.substr(0, 6)) || proto[7] != '.' || !digit(major) || !digit(minor)) return;
    other_version = major != '1';
    if (other_version || minor > '1') major = minor = '1';
  }

  progress refuse(int status, std::string_view detail = {}) {
    why = {status, detail};
    return progress::bad;
  }

  /// Gives Beast the lines it has not seen.
  progress parse_lines() {
    error_code ec;
    const auto n = put(boost::asio::const_buffer(lines.data(), lines.size()), ec);
    if (ec == beast::http::error::bad_transfer_encoding && !has_length)
      return refuse(501, "Unsupported transfer encoding");
    if (n != lines.size() || (ec && ec != beast::http::error::need_more)) return refuse(400);
    lines.clear();
    return is_header_done() ? check() : progress::more;
  }

  /// What Go's server looks at when it has read a header.
  progress check() {
    if (hosts > 1) return refuse(400);
    if (other_version) return refuse(505, "unsupported protocol version");
    if (hosts == 0 && version > 10 && into.method != "CONNECT") return refuse(400, "missing required Host header");
    if (!valid_host(into.headers.get("Host"))) return refuse(400, "malformed Host header");
    return progress::done;
  }

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
  auto& s = *state_;
  used = 0;
  // A TLS client would wait for its answer as we do for the end of its line.
  if (!s.has_request_line && !data.empty() && data.front() < ' ' && data.front() >= 0) return s.refuse(400);
  for (size_t end = 0; (end = data.find('\n', used)) != std::string_view::npos;) {
    auto line = data.substr(used, end - used);
    if (s.read + end >= s.limit) return s.refuse(431);
    used = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool whole = !s.has_request_line || line.empty();
    if (s.has_request_line)
      s.lines += line;
    else
      s.add_request_line(line);
    s.lines += "\r\n";
    if (!whole) continue;
    if (const auto p = s.parse_lines(); p != progress::more) return p;
  }
  s.read += used;
  return s.read + data.size() - used > s.limit ? s.refuse(431) : progress::more;
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
  return state_->keep_alive() && !(http_1_0() && state_->chunked());  // HTTP/1.0 has no chunks: who knows where it ends
}
bool request_parser::http_1_0() const {
  return state_->version < 11;
}
request_parser::refusal request_parser::why() const {
  return state_->why;
}

}  // namespace arca::http
