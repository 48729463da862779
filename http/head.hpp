// The header part of answers as text.
#pragma once
#include <string>

#include "http/exchange.hpp"

namespace arca::http {

/// "Api-Version: 1.51\r\n…": what Docker puts on nearly every answer.
std::string_view standard_headers(response::standard which);

struct framing {
  enum class kind : uint8_t { none, length, chunked, until_close } how = kind::length;
  size_t length = 0;
  bool keep_alive = true, http_1_0 = false;
};
/// Status line, header fields and the empty line.
std::string head_text(const response& r, const framing& f, std::string_view date);

/// What hijacked answers begin with: "101 UPGRADED" when the client asked for an upgrade, else 200 and a body until the
/// end. `multiplexed`: 8-byte frames, which only clients of API 1.42 and newer are told. Exec has Docker's headers too.
std::string hijack_head(const request& req, bool multiplexed, response::standard extra);
/// How attach answers errors: the text with CRLF as a raw stream.
std::string hijack_error(int status, std::string_view message);

/// An IMF-fixdate: "Sun, 22 Nov 2026 05:52:11 GMT".
std::string http_date(int64_t unix_seconds);

}  // namespace arca::http
