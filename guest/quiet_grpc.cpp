#include "guest/quiet_grpc.hpp"

#include <grpc/grpc.h>
#include <grpc/support/time.h>
#include <grpcpp/version_info.h>

#include <cstdint>
#include <limits>

// What is used here is no public promise of gRPC: another version needs another look.
static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51, "look at guest/quiet_grpc.cpp again");

/// src/core/lib/iomgr/timer_manager.h of gRPC 1.51: false stops and joins the timer threads.
void grpc_timer_manager_set_threading(bool enabled);

extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names (ld --wrap=grpc_completion_queue_next)
grpc_event __real_grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved);
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved);

/// A queue that is shut down wakes its waiters; nothing else needs them to look.
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec, void* reserved) {
  return __real_grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), reserved);
}
}

// What TimerList::TimerCheck (src/core/lib/event_engine/posix_engine/timer.h) returns, an optional vector, is only
// passed through.
struct timers_due {
  timers_due(const timers_due&) = delete;
  timers_due& operator=(const timers_due&) = delete;
  ~timers_due();
};
timers_due real_timer_check(void* list, int64_t* next) asm(
    "__real__ZN17grpc_event_engine12posix_engine9TimerList10TimerCheckEPN9grpc_core9TimestampE");
timers_due quiet_timer_check(void* list, int64_t* next) asm(
    "__wrap__ZN17grpc_event_engine12posix_engine9TimerList10TimerCheckEPN9grpc_core9TimestampE");

/// `next`, a grpc_core::Timestamp in ms, becomes its InfFuture: a timer that is set wakes the thread, a list without
/// any does not.
timers_due quiet_timer_check(void* list, int64_t* next) {
  struct at_return {
    int64_t* next;
    ~at_return() { *next = std::numeric_limits<int64_t>::max(); }
  } const never{next};
  return real_timer_check(list, next);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace arca::guest {
void quiet_grpc() {
  grpc_timer_manager_set_threading(false);
}
}  // namespace arca::guest
