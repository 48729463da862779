#include "persistence/registry/stop_signal.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <chrono>
#include <cstdint>

namespace arca::registry {

stop_signal::stop_signal() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void stop_signal::request() noexcept {
  requested_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(event_.get(), &one, sizeof one);
}

bool stop_signal::sleep_ms(int milliseconds) const {
  using clock = std::chrono::steady_clock;
  const auto end = clock::now() + std::chrono::milliseconds(milliseconds);
  while (!requested()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - clock::now()).count();
    if (left <= 0) return true;
    pollfd p{event_.get(), POLLIN, 0};
    ::poll(&p, 1, static_cast<int>(left) + 1);
  }
  return false;
}

}  // namespace arca::registry
