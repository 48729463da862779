#include "guest/worker.hpp"

#include <thread>

namespace arca::guest {

bool worker::take(std::function<void()> job) {
  const std::lock_guard lock(guard_);
  if (jobs_.size() >= most_waiting) return false;
  jobs_.push_back(std::move(job));
  if (idle_ < jobs_.size() && threads_ < most_threads) {
    ++threads_;
    std::thread([this] { serve(); }).detach();
  } else {
    wake_.notify_one();
  }
  return true;
}

void worker::serve() {
  std::unique_lock lock(guard_);
  while (true) {
    ++idle_;
    wake_.wait(lock, [this] { return !jobs_.empty(); });
    --idle_;
    const auto job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

}  // namespace arca::guest
