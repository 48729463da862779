// One thread with epoll: sockets, and tasks that other threads post. It sleeps without a timeout when nothing is due.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "persistence/base/unique_fd.hpp"

namespace arca {

/// Something with a descriptor. Called on the loop's thread only.
class io_handler {
 public:
  virtual ~io_handler() = default;
  virtual void on_ready(uint32_t events) = 0;
  /// The delay asked for with call_later is over.
  virtual void on_delay() = 0;
  /// The loop ends. Descriptors and references go; nobody is told.
  virtual void on_stop() = 0;
};

class io_loop {
 public:
  io_loop();
  ~io_loop();
  /// Runs what is posted, then ends the thread; handlers still added are dropped. Not on the loop's own thread.
  void stop();

  /// Runs `task` on the loop's thread, in the order of posting. False (and dropped) when the loop has ended.
  bool post(std::function<void()> task);
  bool on_this_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

  // ---- on the loop's thread
  /// `events` as for epoll, level-triggered. 0 keeps the handler but does not watch the descriptor.
  uint64_t add(int fd, uint32_t events, std::shared_ptr<io_handler> handler);
  void watch(uint64_t id, uint32_t events);
  void remove(uint64_t id);
  /// on_delay() of this handler in about 50 ms. One call is kept for each handler.
  void call_later(uint64_t id);

  /// Room for one read, shared by the loop's sockets: idle ones hold no memory.
  static constexpr size_t buffer_size = 320u << 10;
  char* buffer();

  size_t load() const { return load_.load(std::memory_order_relaxed); }

 private:
  struct entry {
    int fd = -1;
    uint32_t events = 0;
    bool delayed = false;
    std::shared_ptr<io_handler> handler;
  };
  void run();
  void run_posted();
  void run_delayed();

  unique_fd epoll_, wake_;
  std::unordered_map<uint64_t, entry> entries_;
  std::vector<uint64_t> delayed_;
  std::chrono::steady_clock::time_point delay_due_;
  uint64_t last_id_ = 0;
  std::unique_ptr<char[]> buffer_;
  std::atomic<size_t> load_{0};

  std::mutex lock_;
  std::vector<std::function<void()>> posted_;
  bool stopping_ = false, stopped_ = false;
  std::thread thread_;
};

}  // namespace arca
