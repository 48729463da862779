// Spawns the image_manager actor (protocol: actors/protocol/image.hpp). It takes up what state.db, the blob folder and
// the layer folder hold, and answers the first request when that is done.
#pragma once
#include <caf/fwd.hpp>

#include "actors/protocol/image.hpp"

namespace arca {

struct engine_context;

/// `context.store`, `context.events`, `context.port`, `context.pool` and `context.streams` must be set. The actor ends
/// with an error when the folders or the rows cannot be read.
image_manager_actor spawn_image_manager(caf::actor_system& system, engine_context& context);

}  // namespace arca
