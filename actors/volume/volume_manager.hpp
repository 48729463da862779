// The manager of volumes (driver local), below DATA_ROOT/volumes.
#pragma once
#include <caf/fwd.hpp>

#include "actors/protocol/volume.hpp"

namespace arca {
struct engine_context;

/// Needs ctx.store, ctx.events, ctx.port, ctx.pool, ctx.actors. Reads its rows and folders before it answers its first
/// message.
volume_manager_actor spawn_volume_manager(caf::actor_system& system, engine_context& ctx);
}  // namespace arca
