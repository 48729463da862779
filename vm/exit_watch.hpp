// One thread that waits for the end of processes (pidfds), asleep while none ends.
#pragma once
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

class exit_watch {
 public:
  exit_watch();
  ~exit_watch();
  exit_watch(const exit_watch&) = delete;
  exit_watch& operator=(const exit_watch&) = delete;

  /// Calls `ended` once on the watch's thread when `pidfd` becomes readable (a duplicate is watched; the caller may
  /// close its own). Dropped uncalled when the watch itself ends.
  void once(int pidfd, std::function<void()> ended);

 private:
  void run();
  unique_fd epoll_, stop_;
  std::mutex lock_;
  std::map<int, std::pair<unique_fd, std::function<void()>>> watched_;
  std::thread thread_;
};

}  // namespace arca::vm
