// Finds the echo of the newest line in what the agent's side sends (guest/proto/vm_start.hpp): before it stands what an
// earlier connection left in the port, and echoes of earlier lines; right behind it HTTP/2 begins.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace arca::vm {

class echo_finder {
 public:
  /// From now on `line` is the one that counts.
  void expect(std::string line);
  /// Looks at bytes that were not taken yet. How many of them to take: all when the echo is not whole yet, else up to
  /// its end and not one more; found() tells which.
  size_t look(std::string_view bytes);
  bool found() const { return found_; }

 private:
  std::string line_;
  std::string tail_;  ///< taken already; may be the beginning of the echo
  bool found_ = false;
};

}  // namespace arca::vm
