// libFuzzer: bytes of a connection through the request parser, then the target through cleaning and query parsing. The
// first byte says how the bytes are cut.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/query.hpp"
#include "http/request_parser.hpp"
#include "http/router.hpp"

using namespace arca::http;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = data[0] + size_t{1};
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string pending, body;
  request r;
  request_parser parser(r, 4096);
  bool header = false;
  while (!rest.empty()) {
    const auto piece = rest.substr(0, step);
    rest.remove_prefix(piece.size());
    pending += piece;
    for (bool again = true; again && !parser.complete();) {
      size_t used = 0;
      body.clear();
      const auto p = header ? parser.read_body(pending, used, body, 64) : parser.read_header(pending, used);
      if (used > pending.size() || body.size() > 64) __builtin_trap();
      pending.erase(0, used);
      if (p == request_parser::progress::bad) return 0;
      if (!header && p == request_parser::progress::done) {
        header = true;
        continue;
      }
      again = header && used > 0 && !pending.empty();
    }
    if (parser.complete()) break;
  }
  const auto path = std::string_view(r.target).substr(0, r.target.find('?'));
  if (const auto decoded = unescape(path, false)) {
    const auto clean = clean_path(*decoded);
    if (clean_path(clean) != clean || clean.empty() || clean.front() != '/') __builtin_trap();
    if (unescape(escape_path(clean), false).value_or("") != clean) __builtin_trap();
  }
  if (const auto mark = r.target.find('?'); mark != std::string::npos) {
    if (const auto q = query_values::parse(std::string_view(r.target).substr(mark + 1))) {
      q->flag("all");
      if (const auto number = go_atoi(q->get("limit")); !number && number.error().message().empty()) __builtin_trap();
      if (const auto time = parse_timestamp(q->get("since")); !time && time.error().message().empty()) __builtin_trap();
      if (const auto rows = parse_size("height", q->get("h")); !rows && rows.error().message().empty())
        __builtin_trap();
    }
  }
  return 0;
}
