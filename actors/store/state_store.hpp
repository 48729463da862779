// The only writer of state.db: a detached actor (SQLite blocks) with group commit.
#pragma once
#include <caf/fwd.hpp>

#include "actors/core/context.hpp"
#include "persistence/store/state_db.hpp"

namespace arca {
state_store_actor spawn_state_store(caf::actor_system& system, engine_context& ctx, store::state_db db);
}  // namespace arca
