// The container state machine as one table: which stimulus is legal in which state, where it leads, and Docker's answer
// where it is not. Nothing else decides whether a transition is allowed (test: state.test.cpp walks every cell).
//
// States and why each exists:
//   created     has a row and files, never ran                     starting    a machine is being made for it
//   running     its init runs                                      paused      … and is frozen
//   stopping    asked to stop, init still there                    restarting  waits for its restart policy's delay
//   exited      its init has ended, the row says how               removing    files and row are going
//   dead        removal failed half-way; only removal is left
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "actors/model/container_record.hpp"
#include "persistence/base/error.hpp"

namespace arca {

using model::container_status;

/// What can happen to a container: requests first, then reports from below.
enum class stimulus : uint8_t {
  start,
  stop,
  kill,
  pause,
  unpause,
  exec,
  attach,
  resize,
  remove,
  force_remove,  // requests
  launched,
  launch_failed,
  init_exited,
  restart_due,
  removed,
  remove_failed,  // reports
};
inline constexpr size_t stimulus_count = 16;
inline constexpr size_t status_count = 9;

std::string_view to_string(stimulus s);

enum class verdict : uint8_t {
  go,       ///< legal; the state becomes `next` (may be the same)
  refuse,   ///< answered with code and text
  already,  ///< errc::not_modified: nothing to do
  later,    ///< queued until the present transition has ended
  ignore,   ///< a report that no longer matters
};

struct transition {
  verdict decision = verdict::ignore;
  container_status next = container_status::created;
  errc code = errc::none;
  std::string_view text;  ///< "%ID" stands for the container's id, "%NAME" for its name
};

/// The cell of the table.
const transition& lookup(container_status state, stimulus s);

/// The error of a refused (or already fulfilled) request.
error refusal(const transition& t, const model::container_record& r);

}  // namespace arca
