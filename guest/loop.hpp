// The agent's one thread of work: an epoll loop with timers. Everything the agent knows is touched on it only, so that
// nothing needs a lock; gRPC's threads hand their calls over with post().
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class loop {
 public:
  using ready_handler = std::function<void(uint32_t epoll_events)>;
  using task = std::function<void()>;
  using timer_id = uint64_t;  ///< 0: none

  loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// Calls `handler` whenever one of `events` (EPOLL…, level-triggered) holds for `fd`. EPOLLHUP and EPOLLERR come
  /// always: a descriptor that must not be looked at for a while is forgotten, not watched for 0.
  void watch(int fd, uint32_t events, ready_handler handler);
  void change(int fd, uint32_t events);
  /// No call after this one, also not of what the running round of the loop has already seen. Before the fd's close.
  void forget(int fd);

  timer_id after(std::chrono::milliseconds delay, task work);
  void cancel(timer_id& timer);  ///< sets it to 0; a timer that has fired is fine

  /// From any thread: runs `work` on the loop, in order.
  void post(task work);

  /// Until stop; returns its status.
  int run();
  void stop(int status);

 private:
  struct watched {
    uint32_t serial;
    std::shared_ptr<ready_handler> handler;
  };
  void run_posted();
  int run_timers();

  unique_fd epoll_;
  unique_fd wake_;
  std::unordered_map<int, watched> watched_;
  uint32_t next_serial_ = 1;
  std::multimap<std::chrono::steady_clock::time_point, std::pair<timer_id, task>> timers_;
  timer_id next_timer_ = 1;
  std::mutex posted_guard_;
  std::vector<task> posted_;
  bool running_ = true;
  int status_ = 0;
};

}  // namespace arca::guest
