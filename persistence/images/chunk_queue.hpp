// Buffers that several threads read, and the bounded queue that hands them on.
#pragma once
#include <sys/mman.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <vector>

namespace arca::images {

/// Filled once by one thread, then only read. Pages of its own, so that memory goes back to the kernel with it.
struct chunk {
  explicit chunk(size_t capacity)
      : bytes(
            static_cast<char*>(::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        room(capacity) {
    if (bytes == MAP_FAILED) throw std::bad_alloc();
  }
  ~chunk() { ::munmap(bytes, room); }
  chunk(const chunk&) = delete;
  chunk& operator=(const chunk&) = delete;

  char* const bytes;
  const size_t room;
  size_t size = 0;
  std::string_view view() const noexcept { return {bytes, size}; }
};
using chunk_ptr = std::shared_ptr<chunk>;

/// Used buffers come back here: fresh memory would cost a page fault for every 4 KiB that passes through.
class chunk_pool : public std::enable_shared_from_this<chunk_pool> {
 public:
  static constexpr size_t chunk_size = 256u << 10;

  chunk_ptr take() {
    std::unique_ptr<chunk> one;
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        one = std::move(free_.back());
        free_.pop_back();
      }
    }
    if (!one) one = std::make_unique<chunk>(chunk_size);
    one->size = 0;
    return {one.release(), [pool = shared_from_this()](chunk* used) { pool->give_back(std::unique_ptr<chunk>(used)); }};
  }

 private:
  void give_back(std::unique_ptr<chunk> used) {
    const std::lock_guard lock(mutex_);
    if (free_.size() < 24) free_.push_back(std::move(used));
  }
  std::mutex mutex_;
  std::vector<std::unique_ptr<chunk>> free_;
};

class chunk_queue {
 public:
  /// Waits for room. False: the queue was stopped.
  bool push(chunk_ptr one) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || waiting_.size() < bound; });
    if (stopped_) return false;
    waiting_.push_back(std::move(one));
    changed_.notify_all();
    return true;
  }
  /// Waits for a chunk; nullptr at the end or when the queue was stopped.
  chunk_ptr pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || ended_ || !waiting_.empty(); });
    if (stopped_ || waiting_.empty()) return nullptr;
    chunk_ptr one = std::move(waiting_.front());
    waiting_.pop_front();
    changed_.notify_all();
    return one;
  }
  /// Nothing more will be pushed.
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  /// Both sides give up at once.
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    waiting_.clear();
    changed_.notify_all();
  }
  bool stopped() const {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

 private:
  static constexpr size_t bound = 8;  // 2 MiB in flight between two stages
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<chunk_ptr> waiting_;
  bool ended_ = false, stopped_ = false;
};

}  // namespace arca::images
