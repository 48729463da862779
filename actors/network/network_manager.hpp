// The manager of all networks. It owns the map of names, delegates to one actor per network and supervises them.
#pragma once
#include <caf/fwd.hpp>

#include "actors/protocol/network.hpp"

namespace arca {
struct engine_context;

/// Needs ctx.store, ctx.events, ctx.port, ctx.pool, ctx.actors. Reads its rows before it answers its first message.
network_manager_actor spawn_network_manager(caf::actor_system& system, engine_context& ctx);
}  // namespace arca
