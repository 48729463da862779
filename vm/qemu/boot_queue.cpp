#include "vm/qemu/boot_queue.hpp"

#include <algorithm>

namespace arca::vm {

boot_queue::boot_queue(unsigned places) : places_(std::max(1u, places)) {}

boot_queue::turn& boot_queue::turn::operator=(turn&& other) noexcept {
  if (this != &other) {
    leave();
    queue_ = std::exchange(other.queue_, nullptr);
  }
  return *this;
}

void boot_queue::turn::leave() {
  auto* queue = std::exchange(queue_, nullptr);
  if (queue == nullptr) return;
  const std::lock_guard guard(queue->lock_);
  --queue->active_;
  queue->changed_.notify_all();
}

result<boot_queue::turn> boot_queue::wait() {
  std::unique_lock guard(lock_);
  const auto ticket = next_ticket_++;
  changed_.wait(guard, [&] { return closed_ || (ticket == admitted_ && active_ < places_); });
  if (closed_) return fail(errc::unavailable, "the engine is stopping");
  ++admitted_;
  ++active_;
  changed_.notify_all();
  return turn(this);
}

void boot_queue::close() {
  const std::lock_guard guard(lock_);
  closed_ = true;
  changed_.notify_all();
}

uint64_t boot_queue::waiting() const {
  const std::lock_guard guard(lock_);
  return next_ticket_ - admitted_;
}

}  // namespace arca::vm
