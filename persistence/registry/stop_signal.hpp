// Asks blocking work on other threads to end: an atomic flag and a descriptor that poll(2) sees.
#pragma once
#include <atomic>

#include "persistence/base/unique_fd.hpp"

namespace arca::registry {

class stop_signal {
 public:
  stop_signal();
  void request() noexcept;  ///< any thread, any number of times
  bool requested() const noexcept { return requested_.load(std::memory_order_acquire); }
  int fd() const noexcept { return event_.get(); }  ///< readable once requested
  /// Sleeps; false when the signal came first.
  bool sleep_ms(int milliseconds) const;

 private:
  std::atomic<bool> requested_{false};
  unique_fd event_;
};

}  // namespace arca::registry
