// The agent's own log, DIR/agent.log: bounded, because a hostile workload can make an agent complain for ever.
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class agent_log {
 public:
  static constexpr size_t limit = 64u << 10;  ///< bytes; at the limit the older half is dropped

  /// Opens or creates the file; without one every line is dropped.
  void open(const std::string& path);
  /// Lines go to this terminal instead: a burst is cut, because its reader is slow.
  void open_console(const std::string& path);
  /// One line with the time in front; line breaks inside become spaces. From any thread of the agent's loop only.
  void write(std::string_view line);

 private:
  void drop_older_half();
  bool burst();

  unique_fd file_;
  size_t size_ = 0;
  bool console_ = false;
  int64_t minute_ = 0;  ///< console: in which
  int lines_ = 0;       ///< so many were written
};

/// The process's log.
agent_log& log();

}  // namespace arca::guest
