// Taking a row up again, after a daemon start or after this actor was restarted: known and alive → adopt; known and
// gone → finish the interrupted transition (flows.md "Order of truth", recovery). Adoption uses `await`: requests that
// arrive meanwhile wait in the mailbox and then see the true state.
#include "actors/container/container.hpp"
#include "actors/container/restart_policy.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {

caf::result<bool> container::take_up(const resume_container& request) {
  auto promise = make_response_promise<bool>();
  make_io();
  switch (record_.state.status) {
    case container_status::created:
    case container_status::dead:
      promise.deliver(false);
      break;
    case container_status::exited:
      promise.deliver(false);
      if (record_.start_wanted) {
        make_up_for_start();
        break;
      }
      if (!request.daemon_start) break;
      if (auto_remove() && record_.state.started_at != 0)
        begin_remove(true, [](const caf::error&) {});
      else if (starts_with_daemon(record_))
        start_afresh([](const caf::error&) { /* shown as State.Error */ });
      break;
    case container_status::restarting:
      promise.deliver(false);
      schedule_restart();
      break;
    case container_status::removing:
      promise.deliver(false);
      record_.state.status = container_status::exited;
      begin_remove(record_.remove_volumes, [](const caf::error&) {});
      break;
    default:
      adopt(promise);
  }
  return promise;
}

void container::adopt(caf::typed_response_promise<bool> promise) {
  if (record_.state.status == container_status::stopping && record_.start_wanted)
    on_stopped_.push_back([this](const caf::error&) { make_up_for_start(); });
  make_machine make;
  make.container_id = record_.id;
  make.observer = caf::actor_cast<machine_observer_actor>(ctrl());
  auto lost = [this, promise](const error& why) mutable {
    if (record_.state.status == container_status::starting) {
      // The start was never answered: back to where it began.
      record_.state.status = record_.state.started_at == 0 ? container_status::created : container_status::exited;
      forget_addresses();
      promise.deliver(false);
      save([this](const caf::error&) {
        if (record_.start_wanted) make_up_for_start();
        run_later();
      });
      return;
    }
    machine_exited gone;
    gone.container_id = record_.id;
    gone.process_id = "init";
    gone.generation = record_.generation;
    gone.exit_code = 137;
    gone.at = now_nanos();
    gone.error = why.message();
    promise.deliver(false);
    init_exited(gone);
  };
  request(s_.ctx.machines, caf::infinite, std::move(make))
      .await(
          [this, promise, lost](const machine_actor& machine) mutable {
            machine_ = machine;
            adopt_machine a;
            a.container_id = record_.id;
            a.generation = record_.generation;
            a.machine = record_.machine;
            a.record = model::to_document(record_);
            request(machine_, caf::infinite, std::move(a))
                .await(
                    [this, promise](const adopted_machine& found) mutable {
                      promise.deliver(true);
                      adopted(found);
                    },
                    [this, lost](caf::error& e) mutable {
                      machine_ = nullptr;
                      lost(from_caf(e));
                    });
          },
          [lost](caf::error& e) mutable { lost(from_caf(e)); });
}

/// Shown as State.Error when it fails.
void container::make_up_for_start() {
  if (!stops_with_daemon_ && start_cell().decision == verdict::go) begin_start([](const caf::error&) {});
}

void container::adopted(const adopted_machine& found) {
  const auto before = record_.state.status;
  if (before == container_status::starting) record_.start_wanted = false;
  if (found.started_at != 0) record_.state.started_at = found.started_at;
  if (found.pid != 0) record_.state.pid = found.pid;
  keep_details(found.details);
  if (found.exited) {
    if (record_.state.status == container_status::starting) record_.state.status = container_status::running;
    machine_exited report;
    report.container_id = record_.id;
    report.process_id = "init";
    report.generation = record_.generation;
    report.exit_code = found.exit_code;
    report.at = found.exited_at;
    report.oom_killed = found.oom_killed;
    init_exited(report);
    return;
  }
  // Frozen, but nobody was told of a pause: the old daemon died while it paused or killed the container.
  const bool stray_freeze = found.paused && before != container_status::paused && before != container_status::stopping;
  record_.state.status = found.paused && !stray_freeze ? container_status::paused : container_status::running;
  if (stray_freeze) {
    pause_machine thaw;
    thaw.container_id = record_.id;
    thaw.pause = false;
    request(machine_, caf::infinite, std::move(thaw))
        .then([] {},
              [this](caf::error& e) {
                log::warn("container stays frozen", log::kv("container", record_.id),
                          log::kv("reason", from_caf(e).message()));
              });
  }
  log::info("container adopted", log::kv("container", record_.id), log::kv("pid", record_.state.pid));
  if (before == container_status::stopping) {  // the row stays so: nothing is saved before the stop is
    stop_again();
    run_later();
    return;
  }
  save([this](const caf::error&) { run_later(); });
}

}  // namespace arca
