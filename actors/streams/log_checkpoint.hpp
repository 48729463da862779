// Which of the agent's bytes are in a log, kept in a small file beside it (PATH.checkpoint). It is written after each
// batch of the log and before that batch is acknowledged, so that a daemon that dies in between can tell: what lies in
// the log behind the checkpoint is cut off and asked for again. Nothing is lost, nothing doubled. No fsync: it guards
// against the death of processes, not of the host.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca {

/// The beginning of a line that has not ended: it is in no log file yet, or (continued) its first parts are.
struct open_line {
  std::string bytes;       ///< less than one entry (16 KiB)
  int64_t part_time = 0;   ///< of its last record; when continued: the time that all parts of a split line carry
  bool continued = false;  ///< parts of 16 KiB were already written
};

struct log_position {
  uint64_t next_sequence = 1;      ///< first record that is not wholly in the log
  uint64_t skip = 0;               ///< bytes of it that are (a rotation in the middle of a record)
  uint64_t inode = 0;              ///< of the log file
  uint64_t size = 0;               ///< of that file
  std::array<open_line, 2> lines;  ///< stdout, stderr
};

class checkpoint_file {
 public:
  /// Opens or creates it. Reads what is there: load() then has the newest whole state.
  static result<checkpoint_file> open(const std::string& path);
  /// Nothing when the file is new or not whole.
  const std::optional<log_position>& loaded() const { return loaded_; }
  result<void> save(const log_position& position);

 private:
  unique_fd fd_;
  uint64_t counter_ = 0;
  std::optional<log_position> loaded_;
  std::string scratch_;
};

/// Exposed for the fuzzer and tests.
std::optional<log_position> decode_checkpoint(std::string_view slot, uint64_t& counter);

}  // namespace arca
