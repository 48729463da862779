#include "guest/native/loan.hpp"

#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>

namespace arca::guest::native {
namespace {

// As syscall(2), without errno: that is the child's as well.
long quiet_syscall(long number, long a, long b, long c, long d, long e = 0) noexcept {
#if defined(__x86_64__)
  long out = number;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall" : "+a"(out) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return out;
#else
  return syscall(number, a, b, c, d, e);  // no memory is lent here (guest/native/child.cpp)
#endif
}
template <class T>
long address(T* of) {
  return reinterpret_cast<long>(of);
}

bool has_ended(pid_t child) noexcept {
  siginfo_t how;
  how.si_pid = 0;
  quiet_syscall(SYS_waitid, P_PID, child, address(&how), WEXITED | WNOHANG | WNOWAIT);
  return how.si_pid == child;
}
}  // namespace

void loan::wait(pid_t child, int channel, int theirs) noexcept {
  quiet_syscall(SYS_close, theirs, 0, 0, 0);
  state_.store(patient, std::memory_order_release);
  // The loop may have looked before.
  if (!has_ended(child)) {
    const timespec rest{patience_.count() / 1'000'000'000, static_cast<long>(patience_.count() % 1'000'000'000)};
    quiet_syscall(SYS_futex, address(&state_), FUTEX_WAIT_PRIVATE, patient, address(&rest));
  }
  uint32_t expected = patient;
  if (!state_.compare_exchange_strong(expected, over, std::memory_order_acq_rel)) return;
  pollfd lost{channel, 0, 0};
  while (quiet_syscall(SYS_ppoll, address(&lost), 1, 0, 0) < 0) {
  }
}

void loan::ready() {
  ready_at_.store(std::chrono::steady_clock::now().time_since_epoch().count(), std::memory_order_relaxed);
}

bool loan::take_over_ended(pid_t child) {
  if (child <= 0 || state_.load(std::memory_order_acquire) != patient || !has_ended(child)) return false;
  uint32_t expected = patient;
  return state_.compare_exchange_strong(expected, taken, std::memory_order_acq_rel);
}

void loan::let_go() {
  quiet_syscall(SYS_futex, address(&state_), FUTEX_WAKE_PRIVATE, 1, 0);
}

std::chrono::nanoseconds loan::set_up_time() const {
  const auto at = ready_at_.load(std::memory_order_relaxed);
  return at == 0 ? std::chrono::nanoseconds::zero()
                 : std::chrono::steady_clock::duration(at) - began_.time_since_epoch();
}

}  // namespace arca::guest::native
