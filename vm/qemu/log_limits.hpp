// Keeps the files that a guest can make grow (console, QEMU's own output) below 1 MiB: they are written with O_APPEND
// by others, so cutting them is safe. inotify: nothing runs while nobody writes, and at most one look a second.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "vm/qemu/qmp_client.hpp"

namespace arca::vm {

class log_limits {
 public:
  static constexpr int64_t limit = 1 << 20, kept = 64 << 10;

  explicit log_limits(qmp_loop& loop);
  ~log_limits();
  log_limits(const log_limits&) = delete;
  log_limits& operator=(const log_limits&) = delete;

  /// From any thread; a missing file is left out.
  void add(const std::string& path);
  void remove_below(const std::string& dir);

 private:
  struct state;
  qmp_loop& loop_;
  std::shared_ptr<state> state_;
};

/// Cuts `path` to its last `kept` bytes when it has more than `limit`. What is written between the look and the cut is
/// lost or comes before those bytes: no file system offers both in one step, and a flood loses all but its end anyway.
void cut_log(const std::string& path);

}  // namespace arca::vm
