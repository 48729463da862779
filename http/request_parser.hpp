// Beast's HTTP/1 parser without its sockets: fed with bytes, fills a request. Beast stays in the .cpp.
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
  /// Reads the request line and header fields. `used` bytes of `data` are consumed.
  progress read_header(std::string_view data, size_t& used);
  /// After the header: appends decoded bytes of the body to `out` until about `most` bytes are there or `data` is used
  /// up. `done`: the whole message has been read.
  progress read_body(std::string_view data, size_t& used, std::string& out, size_t most);

  bool complete() const;  ///< header and body
  bool keep_alive() const;
  bool http_1_0() const;
  int refusal() const;  ///< after bad: 400 or 431

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace arca::http
