// What container_manager, container and exec say to each other and to themselves, beside actors/protocol/container.hpp.
// These messages carry handles into the engine's own memory, so they never leave it.
#pragma once
#include <caf/allowed_unsafe_message_type.hpp>
#include <memory>

#include "actors/container/directory.hpp"
#include "actors/core/context.hpp"
#include "actors/protocol/container.hpp"

namespace arca {

/// container → manager, answered when the directory shows it: so a client reads its own writes.
struct publish_container {
  container_entry entry;
};
/// container → manager: the name (a free generated one when empty) is taken from now on and answered, or errc::conflict
/// in Docker's words.
struct reserve_name {
  std::string id, name;
  ARCA_MESSAGE(reserve_name, id, name)
};
/// container → manager: nothing of it is left (row and files are gone, or it never came to be).
struct withdraw_container {
  std::string id;
  ARCA_MESSAGE(withdraw_container, id)
};
/// manager → container after a daemon start or a crash of the actor: take the row up again. Answers true when a machine
/// of it was adopted.
struct resume_container {
  bool daemon_start = true;  ///< restart policies act; false: only this actor was restarted
  ARCA_MESSAGE(resume_container, daemon_start)
};
/// manager → container when the daemon ends and takes its containers along: a stop that nobody wanted of this one, so
/// its policy starts it again with the next daemon.
struct stop_with_daemon {
  int32_t timeout = -2;  ///< as in stop_container
  ARCA_MESSAGE(stop_with_daemon, timeout)
};
/// A timer of the container: which one, and for which generation of its start.
enum class timer_kind : uint8_t { stop_timeout, kill_timeout, restart, save_exit };
inline std::string to_string(timer_kind k) {
  return k == timer_kind::restart ? "restart" : k == timer_kind::save_exit ? "save_exit" : "stop";
}
struct timer_due {
  timer_kind kind = timer_kind::restart;
  uint64_t ticket = 0;
  ARCA_MESSAGE(timer_due, kind, ticket)
};

/// exec → itself: resizes that came before its process wait no longer.
struct resizes_due {
  uint64_t ticket = 0;
  ARCA_MESSAGE(resizes_due, ticket)
};

/// manager → itself, some time after the last removal: give freed memory back to the host.
struct trim_memory {
  uint64_t ticket = 0;
  ARCA_MESSAGE(trim_memory, ticket)
};

/// manager → itself, from time to time: execs that exited a while ago are forgotten.
struct forget_execs {
  ARCA_MESSAGE(forget_execs)
};

using container_manager_internal = container_manager_actor::extend<
    caf::replies_to<publish_container>::with<void>, caf::replies_to<reserve_name>::with<std::string>,
    caf::replies_to<withdraw_container>::with<void>, caf::reacts_to<trim_memory>, caf::reacts_to<forget_execs>>;
using container_internal =
    container_actor::extend<caf::replies_to<resume_container>::with<bool>,
                            caf::replies_to<stop_with_daemon>::with<void>, caf::reacts_to<timer_due>>;

using exec_internal = exec_actor::extend<caf::reacts_to<resizes_due>>;

/// What the three kinds of actor share beside the engine's context.
struct container_services {
  engine_context& ctx;
  published_directory& directory;
  exec_index& execs;
};

/// "sh -c x": the command of an exec configuration, as the events show it.
std::string exec_command(const std::string& config);

container_internal spawn_container(caf::actor_system& system, container_services services,
                                   container_manager_internal manager,
                                   std::shared_ptr<const model::container_record> record);
exec_actor spawn_exec(caf::actor_system& system, container_services services,
                      std::shared_ptr<const model::container_record> container, std::string id, std::string config,
                      machine_actor machine);
container_manager_internal spawn_container_manager(caf::actor_system& system, container_services services);

}  // namespace arca

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(arca::publish_container)
CAF_BEGIN_TYPE_ID_BLOCK(arca_container_internal, caf::first_custom_type_id + 220)
CAF_ADD_TYPE_ID(arca_container_internal, (arca::reserve_name))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::withdraw_container))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::resume_container))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::stop_with_daemon))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::timer_kind))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::timer_due))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::resizes_due))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::trim_memory))
CAF_ADD_TYPE_ID(arca_container_internal, (arca::forget_execs))
CAF_END_TYPE_ID_BLOCK(arca_container_internal)
