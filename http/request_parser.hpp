// Beast's HTTP/1 parser without its sockets: fed with bytes, fills a request. Beast stays in the .cpp. Around it is
// what Go's server does and Beast does not: lines that end with a bare line feed, HTTP/1.2, what is refused in its
// words.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "http/exchange.hpp"

namespace arca::http {

class request_parser {
 public:
  request_parser(request& into, size_t header_limit);
  ~request_parser();

  enum class progress : uint8_t { more, done, bad };
  /// Reads the request line and header fields. `used` bytes of `data` are consumed: whole lines.
  progress read_header(std::string_view data, size_t& used);
  /// After the header: appends decoded bytes of the body to `out` until about `most` bytes are there or `data` is used
  /// up. `done`: the whole message has been read.
  progress read_body(std::string_view data, size_t& used, std::string& out, size_t most);

  bool complete() const;  ///< header and body
  bool keep_alive() const;
  bool http_1_0() const;

  struct refusal {
    int status = 400;
    std::string_view detail;  ///< behind the reason
  };
  refusal why() const;  ///< after read_header's bad

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace arca::http
