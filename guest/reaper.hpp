// Collects ended children: the launcher's helpers, container processes that fell to us as their subreaper, and strays
// of containers without a pid namespace.
#pragma once
#include <sys/types.h>
#include <sys/wait.h>

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "guest/loop.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class reaper {
 public:
  using ended = std::function<void(int code)>;  ///< exit code, 128 + signal for a signalled process

  /// SIGCHLD must be blocked in every thread of the process.
  explicit reaper(loop& on);
  ~reaper();

  /// Calls `on_end` from the loop once the child `pid` has ended, also if it has already. A pid that is not (yet) a
  /// child is waited for: crun's go-between hands its child over a moment after it has told us the pid. `early`: before
  /// the child is collected, which takes the kernel much longer than to say how it ended.
  void expect(pid_t pid, ended on_end, bool early = false);
  /// Stops caring; the child is then a stray.
  void forget(pid_t pid) { expected_.erase(pid); }

  /// `look` is called when a child has ended, before anything is collected. Once.
  void before_collecting(std::function<void()> look) { look_ = std::move(look); }

  /// While launches are in progress a child that nobody expects yet is left alone: it may be the one being launched.
  void launch_begins() { ++launches_; }
  void launch_ends();

 private:
  void collect();
  bool collect_one(idtype_t which, id_t id);
  void report(pid_t pid, int code);

  loop& loop_;
  unique_fd signals_;
  std::function<void()> look_ = [] {};
  struct expectation {
    ended on_end;
    bool early = false;
  };
  std::unordered_map<pid_t, expectation> expected_;
  int launches_ = 0;
};

}  // namespace arca::guest
