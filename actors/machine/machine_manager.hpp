// The manager of machines: makes one machine actor per start, keeps the pool of idle agents, and after recovery removes
// what no container owns.
#pragma once
#include <caf/fwd.hpp>

#include "actors/core/context.hpp"

namespace arca {

/// Needs ctx.config, port, pool, actors, and ctx.processes (actors/streams/process_io_registry.hpp).
machine_manager_actor spawn_machine_manager(caf::actor_system& system, engine_context& ctx);

}  // namespace arca
