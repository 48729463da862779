// What machine_manager and machine share, and what a machine says to itself. These messages never leave the engine.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "actors/core/context.hpp"
#include "actors/protocol/machine.hpp"
#include "vm/agent_client.hpp"
#include "vm/backend.hpp"

namespace arca {

/// The agent's event, from a gRPC thread.
struct machine_event {
  std::string container_id, process_id;
  bool exit = false;  ///< else an OOM kill
  int32_t code = 0;
  int64_t at = 0;
  bool oom_killed = false;
  ARCA_MESSAGE(machine_event, container_id, process_id, exit, code, at, oom_killed)
};
/// The stdio stream of a process is over: complete, or the socket broke.
struct machine_stdio_ended {
  std::string process_id;
  uint64_t binding = 0;  ///< which connection
  bool complete = false;
  bool exited = false;  ///< code and at are known
  int32_t code = 0;
  int64_t at = 0;
  ARCA_MESSAGE(machine_stdio_ended, process_id, binding, complete, exited, code, at)
};
/// The machine's own process is dead.
struct machine_process_ended {
  ARCA_MESSAGE(machine_process_ended)
};
enum class machine_timer_kind : uint8_t {
  output_late,
  kill_late,
  reconnect,
  next_event,
  events_ended,  ///< at once, from a gRPC thread
  follow_again,
  ping,
  forget_execs,
};
inline std::string to_string(machine_timer_kind k) {
  switch (k) {
    case machine_timer_kind::output_late:
      return "output_late";
    case machine_timer_kind::kill_late:
      return "kill_late";
    case machine_timer_kind::reconnect:
      return "reconnect";
    case machine_timer_kind::next_event:
      return "next_event";
    case machine_timer_kind::events_ended:
      return "events_ended";
    case machine_timer_kind::follow_again:
      return "follow_again";
    case machine_timer_kind::ping:
      return "ping";
    case machine_timer_kind::forget_execs:
      return "forget_execs";
  }
  return {};
}
struct machine_timer {
  machine_timer_kind kind = machine_timer_kind::output_late;
  std::string process_id;
  ARCA_MESSAGE(machine_timer, kind, process_id)
};

using machine_internal = machine_actor::extend<caf::reacts_to<machine_event>, caf::reacts_to<machine_stdio_ended>,
                                               caf::reacts_to<machine_process_ended>, caf::reacts_to<machine_timer>>;

/// Shared by all machines of one engine and by work on the pool that outlives an actor.
using shared_backend = std::shared_ptr<vm::backend>;
/// By kind, "namespace" and "vm".
using machine_backends = std::map<std::string, shared_backend>;
using shared_backends = std::shared_ptr<const machine_backends>;

/// Threads for what waits for a machine: for its turn to boot, for an agent that may be slow or hostile. Not those of
/// ctx.pool, so that no other container waits with it. Shared by all machines of one engine.
struct machine_threads {
  static constexpr size_t most_boots = 256, most_calls = 128;
  blocking_pool boots{most_boots};
  blocking_pool calls{most_calls};
};
using shared_threads = std::shared_ptr<machine_threads>;

/// A machine that keeps its backend: work on the pool may hold it longer than any actor lives.
inline std::shared_ptr<vm::machine> hold(shared_backend backend, std::unique_ptr<vm::machine> made) {
  return {made.release(), [backend = std::move(backend)](vm::machine* m) { delete m; }};
}

machine_internal spawn_machine(caf::actor_system& system, engine_context& ctx, shared_backends backends,
                               shared_threads threads, const make_machine& order);

}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_machine_internal, caf::first_custom_type_id + 230)
CAF_ADD_TYPE_ID(arca_machine_internal, (arca::machine_event))
CAF_ADD_TYPE_ID(arca_machine_internal, (arca::machine_stdio_ended))
CAF_ADD_TYPE_ID(arca_machine_internal, (arca::machine_process_ended))
CAF_ADD_TYPE_ID(arca_machine_internal, (arca::machine_timer_kind))
CAF_ADD_TYPE_ID(arca_machine_internal, (arca::machine_timer))
CAF_END_TYPE_ID_BLOCK(arca_machine_internal)
