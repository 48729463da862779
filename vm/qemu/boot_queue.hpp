// At most as many cold boots at a time as there are processors: ten at once on two cores all take five times as long,
// and then miss their deadlines together. First come, first served; nobody waits in vain, since every boot has a
// deadline of its own that begins when its turn does.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "persistence/base/error.hpp"

namespace arca::vm {

class boot_queue {
 public:
  explicit boot_queue(unsigned places);

  /// Held while a machine boots.
  class turn {
   public:
    turn() = default;
    turn(turn&& other) noexcept : queue_(std::exchange(other.queue_, nullptr)) {}
    turn& operator=(turn&& other) noexcept;
    ~turn() { leave(); }
    void leave();

   private:
    friend class boot_queue;
    explicit turn(boot_queue* queue) : queue_(queue) {}
    boot_queue* queue_ = nullptr;
  };
  /// errc::unavailable after close().
  result<turn> wait();
  void close();
  uint64_t waiting() const;

 private:
  const unsigned places_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  uint64_t next_ticket_ = 0, admitted_ = 0, active_ = 0;
  bool closed_ = false;
};

}  // namespace arca::vm
