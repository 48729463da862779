// Docker's events: history of the last 256 and live subscribers.
#pragma once
#include <caf/fwd.hpp>

#include "actors/core/context.hpp"

namespace arca {
event_bus_actor spawn_event_bus(caf::actor_system& system, engine_context& ctx);
}  // namespace arca
