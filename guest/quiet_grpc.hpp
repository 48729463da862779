// Makes an idle gRPC server sleep. gRPC 1.51 wakes about seven times a second for nothing: the callback API's threads
// poll their queue every 1.1 s, the timer threads of both its engines look at empty lists every second. With fifty
// machines that is the difference between an idle host and a busy one.
#pragma once

namespace arca::guest {

/// Call once, after the server has been built. Timers of gRPC do not fire any more: this agent uses none (no keepalive,
/// no idle limits; deadlines are the daemon's). The rest is done at link time: __wrap_grpc_completion_queue_next and
/// the event engine's TimerList::TimerCheck.
void quiet_grpc();

}  // namespace arca::guest
