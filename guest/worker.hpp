// Threads for the few calls that may block: mounts, waits for devices, paths of containers (a container can make any
// look at its files hang). At most `most_threads` at a time; the loop never waits for them.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "guest/loop.hpp"
#include "persistence/base/error.hpp"

namespace arca::guest {

class worker {
 public:
  static constexpr size_t most_threads = 4, most_waiting = 64;

  /// Lives as long as the process once it has been used.
  explicit worker(loop& on) : loop_(on) {}
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  /// `work` on a thread, then `done` with what it returned on the loop; errc::unavailable when too many wait.
  template <class T>
  void run(std::function<result<T>()> work, std::function<void(result<T>)> done) {
    const bool taken = take([this, work = std::move(work), done] {
      auto out = std::make_shared<result<T>>(work());
      loop_.post([out, done] { done(std::move(*out)); });
    });
    if (!taken) done(fail(errc::unavailable, "the agent is busy"));
  }
  /// `job` on a thread. False: too many wait.
  bool take(std::function<void()> job);

 private:
  void serve();

  loop& loop_;
  std::mutex guard_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  size_t threads_ = 0, idle_ = 0;
};

}  // namespace arca::guest
