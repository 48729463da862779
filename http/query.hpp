// Query strings as Go's net/url and Docker's httputils read them, and numbers with the texts of Go's strconv.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::http {

class query_values {
 public:
  /// errc::invalid_argument with Go's text: 'invalid URL escape "%zz"', "invalid semicolon separator in query".
  static result<query_values> parse(std::string_view text);

  const std::string& get(std::string_view name) const;  ///< the first value, or empty
  bool has(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  /// Docker's BoolValue: everything but "", "0", "no", "false" and "none" is true.
  bool flag(std::string_view name) const;
  bool flag_or(std::string_view name, bool otherwise) const;

 private:
  std::vector<std::pair<std::string, std::string>> values_;
};

/// Undoes %XX; with `plus`, "+" is a blank. errc::invalid_argument 'invalid URL escape "%zz"'.
result<std::string> unescape(std::string_view text, bool plus);
/// %XX for what Go's URL.EscapedPath escapes.
std::string escape_path(std::string_view path);

/// strconv.Atoi. errc::internal, as Docker answers 500: 'strconv.Atoi: parsing "x": invalid syntax'.
result<int64_t> go_atoi(std::string_view text);
/// "SECONDS[.FRACTION]" to nanoseconds; empty is 0. errc::internal 'strconv.ParseInt: parsing "x": invalid syntax'.
result<int64_t> parse_timestamp(std::string_view text);
/// strconv.ParseUint(…, 10, 32) of resize. errc::invalid_argument 'invalid resize height "x": invalid syntax'.
result<uint32_t> parse_size(std::string_view what, std::string_view text);

}  // namespace arca::http
