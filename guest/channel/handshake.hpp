// The lines with which a connection over the port begins (guest/proto/vm_start.hpp), found in what the port gives. The
// secret of the first line is kept; a line with another one is nothing but bytes.
#pragma once
#include <string>
#include <string_view>

namespace arca::guest {

class handshake {
 public:
  /// While nobody is served: a line anywhere, also one that was cut between two calls. The last one counts, it is
  /// returned whole; empty: none. What stands before and behind it is left over from an earlier connection.
  std::string search(std::string_view bytes);
  /// While a connection is served: only at the beginning of what one read of the port gave (the driver gives one buffer
  /// a read, QEMU begins a new one for each client). Lines right behind it count instead.
  std::string at_start(std::string_view bytes) const;
  /// Forgets the half of a line that search keeps: what comes next has another sender.
  void forget_tail() { tail_.clear(); }

 private:
  bool is_line(std::string_view at) const;

  std::string secret_;
  std::string tail_;
};

}  // namespace arca::guest
