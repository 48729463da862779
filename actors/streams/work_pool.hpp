// Threads for work that may block on the disk (reading logs), never more than a few. They start when there is work and
// end after some idle seconds; none runs in an idle daemon.
#pragma once
#include <chrono>
#include <functional>
#include <memory>

namespace arca {

class work_pool {
 public:
  using clock = std::chrono::system_clock;
  explicit work_pool(size_t limit);
  ~work_pool();
  /// Waits for running work and drops the rest; what is posted later is dropped too.
  void stop();
  void post(std::function<void()> work);
  /// Not before `when` of the wall clock.
  void post_at(clock::time_point when, std::function<void()> work);

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace arca
