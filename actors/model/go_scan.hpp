// The syntax half of Go's encoding/json: finds the end of one value and says in Go's words what is wrong with it. Works
// without recursion, so nested input cannot exhaust the stack.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace arca::model::go {

struct scanned {
  size_t begin = 0, end = 0;  ///< of the value, without white space around it
  bool empty = false;         ///< nothing but white space: io.EOF
  bool truncated = false;     ///< the text ended inside the value: io.ErrUnexpectedEOF
  std::string error;  ///< "invalid character 'x' looking for beginning of value"; empty: the value is well-formed
};

/// Scans one value that begins at or after `from`.
scanned scan_value(std::string_view text, size_t from = 0);

size_t skip_space(std::string_view text, size_t at);
/// Of well-formed text: the position after the value (or the string, with its quotes) that begins at `at`.
size_t value_end(std::string_view text, size_t at);
size_t string_end(std::string_view text, size_t at);

/// "invalid character 'x' after top-level value".
std::string invalid_character(std::string_view text, size_t at, std::string_view context);

}  // namespace arca::model::go
