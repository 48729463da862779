#include "actors/container/state.hpp"

namespace arca {
namespace {
using st = container_status;

constexpr transition go(st next) {
  return {verdict::go, next, errc::none, {}};
}
constexpr transition refuse(errc code, std::string_view text) {
  return {verdict::refuse, st::created, code, text};
}
constexpr transition already() {
  return {verdict::already, st::created, errc::not_modified, {}};
}
constexpr transition later() {
  return {verdict::later, st::created, errc::none, {}};
}
constexpr transition ignore() {
  return {verdict::ignore, st::created, errc::none, {}};
}

constexpr transition not_running = refuse(errc::conflict, "container %ID is not running");
constexpr transition is_restarting =
    refuse(errc::conflict, "Container %ID is restarting, wait until the container is running");
constexpr transition removing_start = refuse(errc::conflict, "container is marked for removal and cannot be started");
constexpr transition is_removing = refuse(errc::conflict, "removal of container %ID is already in progress");
constexpr transition is_running =
    refuse(errc::conflict, "container is running: stop the container before removing or force remove");
constexpr transition is_paused = refuse(errc::conflict, "container is paused and must be unpaused first");
constexpr transition not_paused = refuse(errc::internal, "Container %ID is not paused");

using row = std::array<transition, status_count>;

// One line a stimulus, one column a state:
//   created, starting, running, paused, stopping, restarting, exited, removing, dead
constexpr std::array<row, stimulus_count> table = {
    /* start */ row{go(st::starting), later(), already(),
                    refuse(errc::conflict, "cannot start a paused container, try unpause instead"), later(),
                    go(st::starting), go(st::starting), removing_start, removing_start},
    /* stop */
    row{already(), later(), go(st::stopping), go(st::stopping), go(st::stopping), go(st::exited), already(), already(),
        already()},
    /* kill */
    row{not_running, later(), go(st::running), go(st::paused), go(st::stopping), go(st::exited), not_running,
        not_running, not_running},
    /* pause */
    row{not_running, later(), go(st::paused), refuse(errc::conflict, "Container %ID is already paused"), not_running,
        is_restarting, not_running, not_running, not_running},
    /* unpause */
    row{not_paused, not_paused, not_paused, go(st::running), not_paused, not_paused, not_paused, not_paused,
        not_paused},
    /* exec */
    row{not_running, later(), go(st::running),
        refuse(errc::conflict, "Container %NAME is paused, unpause the container before exec"), go(st::stopping),
        is_restarting, not_running, not_running, not_running},
    /* attach */
    row{go(st::created), go(st::starting), go(st::running),
        refuse(errc::conflict, "container %ID is paused, unpause the container before attach"), go(st::stopping),
        refuse(errc::conflict, "container %ID is restarting, wait until the container is running"), go(st::exited),
        not_running, not_running},
    /* resize */
    row{not_running, go(st::starting), go(st::running), go(st::paused), go(st::stopping), not_running, not_running,
        not_running, not_running},
    /* remove */
    row{go(st::removing), later(), is_running, is_paused, is_running,
        refuse(errc::conflict, "container is restarting: stop the container before removing or force remove"),
        go(st::removing), is_removing, go(st::removing)},
    /* force_remove */
    row{go(st::removing), later(), go(st::stopping), go(st::stopping), go(st::stopping), go(st::removing),
        go(st::removing), is_removing, go(st::removing)},
    /* launched */ row{ignore(), go(st::running), ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), ignore()},
    /* launch_failed */
    row{ignore(), go(st::created), ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), ignore()},
    /* init_exited */
    row{ignore(), go(st::exited), go(st::exited), go(st::exited), go(st::exited), ignore(), ignore(), ignore(),
        ignore()},
    /* restart_due */
    row{ignore(), ignore(), ignore(), ignore(), ignore(), go(st::starting), ignore(), ignore(), ignore()},
    /* removed */ row{ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), go(st::removing), ignore()},
    /* remove_failed */
    row{ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), ignore(), go(st::dead), ignore()},
};
}  // namespace

std::string_view to_string(stimulus s) {
  static constexpr std::array<std::string_view, stimulus_count> names = {
      "start",  "stop",         "kill",     "pause",         "unpause",     "exec",        "attach",  "resize",
      "remove", "force_remove", "launched", "launch_failed", "init_exited", "restart_due", "removed", "remove_failed"};
  return names.at(static_cast<size_t>(s));
}

const transition& lookup(container_status state, stimulus s) {
  return table.at(static_cast<size_t>(s)).at(static_cast<size_t>(state));
}

error refusal(const transition& t, const model::container_record& r) {
  std::string text(t.text);
  if (const auto at = text.find("%ID"); at != std::string::npos) text.replace(at, 3, r.id);
  if (const auto at = text.find("%NAME"); at != std::string::npos) text.replace(at, 5, r.name);
  return {t.code, std::move(text)};
}

}  // namespace arca
