#include "vm/channel/echo_finder.hpp"

#include <algorithm>

namespace arca::vm {

void echo_finder::expect(std::string line) {
  line_ = std::move(line);
  tail_.clear();
  found_ = false;
}

size_t echo_finder::look(std::string_view bytes) {
  const size_t before = tail_.size();
  tail_ += bytes;
  if (const auto at = tail_.find(line_); at != std::string::npos) {
    found_ = true;
    return at + line_.size() - before;  // the tail alone is shorter than a line
  }
  tail_.erase(0, tail_.size() - std::min(tail_.size(), line_.size() - 1));
  return bytes.size();
}

}  // namespace arca::vm
