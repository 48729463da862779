// DIR/exits: how every process ended that the daemon has not acknowledged, one JSON object a line. It survives the
// agent, so that the exit code of a container is known even when its agent was killed right after it. The last line
// about a process counts.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::guest {

struct exit_record {
  std::string container;
  std::string process;  ///< "init" or the exec id
  int code = 0;
  int64_t at = 0;  ///< unix nanoseconds
  bool oom_killed = false;
  uint64_t last_sequence = 0;
  bool operator==(const exit_record&) const = default;
};

/// One line, with its line break.
std::string to_line(const exit_record& record);
/// All whole, readable lines, the last one about each process only, in the order of their first appearance.
std::vector<exit_record> parse_journal(const std::string& text);

class exit_journal {
 public:
  /// The file is made by the first write. Without a path nothing is written: in a VM nobody could read it, and the
  /// agent's end is the machine's.
  void set_path(std::string path) { path_ = std::move(path); }
  /// Appends a line, or replaces what was said about the process before.
  result<void> write(const exit_record& record);
  /// The daemon has it.
  result<void> erase(const std::string& container, const std::string& process);
  const std::vector<exit_record>& records() const { return records_; }

 private:
  std::string path_;
  std::vector<exit_record> records_;
};

}  // namespace arca::guest
