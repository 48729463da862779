// container_manager, container and exec. Look-ups and lists do not come here: they read the directory
// (actors/container/directory.hpp), which names the handle of each container's actor. HTTP asks that actor directly.
#pragma once
#include "actors/protocol/image.hpp"
#include "actors/protocol/machine.hpp"
#include "actors/protocol/message.hpp"

namespace arca {

struct create_container {
  std::string name;  ///< without "/"; empty: generated
  std::string platform;
  std::string body;  ///< normalised and validated: model::decode_create
  ARCA_MESSAGE(create_container, name, platform, body)
};
struct created_container {
  std::string id;
  std::vector<std::string> warnings;
  ARCA_MESSAGE(created_container, id, warnings)
};
struct start_container {
  ARCA_MESSAGE(start_container)
};
struct stop_container {
  std::string signal;    ///< "" the container's own
  int32_t timeout = -2;  ///< seconds; -1 for ever, -2 the container's own
  ARCA_MESSAGE(stop_container, signal, timeout)
};
struct restart_container {
  std::string signal;
  int32_t timeout = -2;
  ARCA_MESSAGE(restart_container, signal, timeout)
};
struct kill_container {
  std::string signal;  ///< name or number; "" SIGKILL
  ARCA_MESSAGE(kill_container, signal)
};
struct pause_container {
  ARCA_MESSAGE(pause_container)
};
struct unpause_container {
  ARCA_MESSAGE(unpause_container)
};
struct resize_container {
  uint32_t rows = 0, columns = 0;
  ARCA_MESSAGE(resize_container, rows, columns)
};
struct rename_container {
  std::string name;
  ARCA_MESSAGE(rename_container, name)
};
struct update_container {
  std::string body;  ///< Docker's update JSON, as received
  ARCA_MESSAGE(update_container, body)
};
struct updated_container {
  std::vector<std::string> warnings;
  ARCA_MESSAGE(updated_container, warnings)
};
struct remove_container {
  bool force = false, volumes = false, link = false;
  ARCA_MESSAGE(remove_container, force, volumes, link)
};
struct inspect_container {
  bool size = false;
  ARCA_MESSAGE(inspect_container, size)
};
struct top_container {
  std::string ps_args;
  ARCA_MESSAGE(top_container, ps_args)
};

/// The machine that the container runs in, for machine_calls.hpp; errc::conflict when it does not run.
struct find_machine {
  ARCA_MESSAGE(find_machine)
};

/// A subscription; the answer comes when the condition holds. `ticket` (from next_wait_ticket) lets the edge cancel it.
struct wait_container {
  std::string condition;  ///< not-running, next-exit, removed
  uint64_t ticket = 0;
  ARCA_MESSAGE(wait_container, condition, ticket)
};
struct wait_result {
  int32_t code = 0;
  std::string error;
  ARCA_MESSAGE(wait_result, code, error)
};
struct cancel_wait {
  uint64_t ticket = 0;
  ARCA_MESSAGE(cancel_wait, ticket)
};

struct attach_container {
  bool logs = false, stream = false, in = false, out = false, err = false;
  std::string detach_keys;
  bool framed = true;  ///< 8-byte frames unless the container has a tty
  ARCA_MESSAGE(attach_container, logs, stream, in, out, err, detach_keys, framed)
};
struct attached_stream {
  stream_id stream = 0;
  bool tty = false;  ///< raw bytes, else multiplexed
  ARCA_MESSAGE(attached_stream, stream, tty)
};
struct read_logs {
  bool follow = false, out = false, err = false, timestamps = false, details = false;
  int64_t since = 0, until = 0;  ///< unix nanoseconds; 0: not given
  int64_t tail = -1;             ///< -1: all
  ARCA_MESSAGE(read_logs, follow, out, err, timestamps, details, since, until, tail)
};

struct create_exec {
  std::string config;  ///< normalised exec JSON (model::decode_exec)
  ARCA_MESSAGE(create_exec, config)
};
struct created_exec {
  std::string id;
  ARCA_MESSAGE(created_exec, id)
};

struct start_exec {
  bool detach = false, tty = false;
  uint32_t rows = 0, columns = 0;
  ARCA_MESSAGE(start_exec, detach, tty, rows, columns)
};
struct resize_exec {
  uint32_t rows = 0, columns = 0;
  ARCA_MESSAGE(resize_exec, rows, columns)
};
struct inspect_exec {
  ARCA_MESSAGE(inspect_exec)
};

/// One exec session: created, running, exited. Inspectable for some minutes after.
using exec_actor = caf::typed_actor<caf::replies_to<start_exec>::with<attached_stream>,  // stream 0 when detached
                                    caf::replies_to<resize_exec>::with<void>,
                                    caf::replies_to<inspect_exec>::with<json_document>, caf::reacts_to<machine_exited>>;

/// A container: the state machine of actors/container/state.hpp.
using container_actor = caf::typed_actor<
    caf::replies_to<create_container>::with<created_container>, caf::replies_to<start_container>::with<void>,
    caf::replies_to<stop_container>::with<void>, caf::replies_to<restart_container>::with<void>,
    caf::replies_to<kill_container>::with<void>, caf::replies_to<pause_container>::with<void>,
    caf::replies_to<unpause_container>::with<void>, caf::replies_to<resize_container>::with<void>,
    caf::replies_to<rename_container>::with<void>, caf::replies_to<update_container>::with<updated_container>,
    caf::replies_to<remove_container>::with<void>, caf::replies_to<inspect_container>::with<json_document>,
    caf::replies_to<top_container>::with<json_document>, caf::replies_to<wait_container>::with<wait_result>,
    caf::reacts_to<cancel_wait>, caf::replies_to<attach_container>::with<attached_stream>,
    caf::replies_to<read_logs>::with<attached_stream>, caf::replies_to<create_exec>::with<created_exec>,
    caf::replies_to<machine_stats>::with<json_document>, caf::replies_to<find_machine>::with<machine_actor>,
    caf::reacts_to<machine_exited>, caf::reacts_to<machine_oom>, caf::reacts_to<machine_unresponsive>>;

struct prune_containers {
  std::string filters;  ///< JSON object of lists, validated
  ARCA_MESSAGE(prune_containers, filters)
};
/// Answered when every row has been taken up again (adopted, finished or removed) after a daemon start.
struct recover_containers {
  ARCA_MESSAGE(recover_containers)
};
/// SIGTERM with stop-containers-on-exit.
struct stop_all_containers {
  int32_t timeout = 10;
  ARCA_MESSAGE(stop_all_containers, timeout)
};

using container_manager_actor =
    caf::typed_actor<caf::replies_to<create_container>::with<created_container>,
                     caf::replies_to<prune_containers>::with<json_document>,
                     caf::replies_to<recover_containers>::with<void>, caf::replies_to<stop_all_containers>::with<void>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_containers, caf::first_custom_type_id + 150)
CAF_ADD_TYPE_ID(arca_containers, (arca::create_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::created_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::start_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::stop_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::restart_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::kill_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::pause_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::unpause_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::resize_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::rename_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::update_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::updated_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::remove_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::inspect_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::top_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::find_machine))
CAF_ADD_TYPE_ID(arca_containers, (arca::wait_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::wait_result))
CAF_ADD_TYPE_ID(arca_containers, (arca::cancel_wait))
CAF_ADD_TYPE_ID(arca_containers, (arca::attach_container))
CAF_ADD_TYPE_ID(arca_containers, (arca::attached_stream))
CAF_ADD_TYPE_ID(arca_containers, (arca::read_logs))
CAF_ADD_TYPE_ID(arca_containers, (arca::create_exec))
CAF_ADD_TYPE_ID(arca_containers, (arca::created_exec))
CAF_ADD_TYPE_ID(arca_containers, (arca::start_exec))
CAF_ADD_TYPE_ID(arca_containers, (arca::resize_exec))
CAF_ADD_TYPE_ID(arca_containers, (arca::inspect_exec))
CAF_ADD_TYPE_ID(arca_containers, (arca::exec_actor))
CAF_ADD_TYPE_ID(arca_containers, (arca::container_actor))
CAF_ADD_TYPE_ID(arca_containers, (arca::prune_containers))
CAF_ADD_TYPE_ID(arca_containers, (arca::recover_containers))
CAF_ADD_TYPE_ID(arca_containers, (arca::stop_all_containers))
CAF_END_TYPE_ID_BLOCK(arca_containers)
