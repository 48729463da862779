// Booted and stopped machines of the default size, ready for the next start: a stopped one costs memory (about 200 MB
// under TCG) and no processor. One thread refills it, through the queue of cold boots and not while starts follow each
// other; when nothing was started for long it gives the machines up until the next start.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "persistence/base/error.hpp"

namespace arca::vm {

class qemu_backend;
class qemu_machine;

class qemu_pool {
 public:
  /// Nothing is booted before fill(). `idle_limit`: how long after a start machines wait for the next; 0: for ever.
  qemu_pool(qemu_backend& backend, unsigned size, std::chrono::milliseconds idle_limit);
  ~qemu_pool();
  qemu_pool(const qemu_pool&) = delete;
  qemu_pool& operator=(const qemu_pool&) = delete;

  void fill();
  /// Ends the idle machines, for good.
  void end();
  /// One that still lives and was booted from this guest; null when there is none. Ends the others on the way.
  std::unique_ptr<qemu_machine> take(const std::string& guest_version);
  size_t idle() const;

 private:
  void refill();
  /// Ends those that have waited too long and says that none are wanted; with the lock, which is open meanwhile.
  bool given_up(std::unique_lock<std::mutex>& guard);

  qemu_backend& backend_;
  const size_t size_;
  const std::chrono::milliseconds idle_limit_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<qemu_machine>> idle_;
  std::chrono::steady_clock::time_point last_take_{};  ///< a start that came, whether it got one or not
  std::chrono::steady_clock::time_point last_use_{};   ///< that, or fill()
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace arca::vm
