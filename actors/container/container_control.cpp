// Requests that change a running container: stop, kill, restart, pause, resize, rename, update; and the views of it.
#include <csignal>

#include "actors/container/container.hpp"
#include "actors/container/restart_policy.hpp"
#include "actors/container/top.hpp"
#include "actors/model/create.hpp"
#include "actors/model/inspect.hpp"
#include "actors/model/signals.hpp"
#include "actors/model/update.hpp"
#include "persistence/base/log.hpp"

namespace arca {
namespace {
constexpr int default_stop_timeout = 10;  // seconds (API: ContainerStop)

int stop_signal_of(const model::container_record& r) {
  const auto name = r.config.value("StopSignal", nlohmann::json());
  if (name.is_string() && !name.get<std::string>().empty())
    if (auto parsed = model::parse_signal(name.get<std::string>())) return *parsed;
  return SIGTERM;
}

int stop_timeout_of(const model::container_record& r) {
  const auto seconds = r.config.value("StopTimeout", nlohmann::json());
  return seconds.is_number_integer() ? seconds.get<int>() : default_stop_timeout;
}

int stop_timeout_of(const model::container_record& r, int asked) {
  return asked == -2 ? stop_timeout_of(r) : asked;
}

result<int> signal_named(const std::string& asked, int otherwise) {
  if (asked.empty()) return otherwise;
  return model::parse_signal(asked);
}
}  // namespace

caf::result<void> container::stop(const stop_container& request) {
  auto promise = make_response_promise<void>();
  const auto signal = signal_named(request.signal, stop_signal_of(record_));
  if (!signal) {
    promise.deliver(to_caf(signal.error()));
    return promise;
  }
  const int timeout = stop_timeout_of(record_, request.timeout);
  const auto& cell = check(stimulus::stop);
  switch (cell.decision) {
    case verdict::already:
      promise.deliver(to_caf(refusal(cell, record_)));
      break;
    case verdict::later:
      later_.push_back([this, signal = *signal, timeout, promise]() mutable {
        if (check(stimulus::stop).decision != verdict::go)
          deliver_ok(promise);
        else
          begin_stop(signal, timeout, deliver(promise));
      });
      break;
    default:
      begin_stop(*signal, timeout, deliver(promise));
  }
  return promise;
}

caf::result<void> container::stop_for_daemon(const stop_with_daemon& request) {
  auto promise = make_response_promise<void>();
  stops_with_daemon_ = true;
  try_stop_for_daemon(stop_timeout_of(record_, request.timeout), promise);
  return promise;
}

/// Not on record, unlike a person's stop: what waits for its policy's delay goes on waiting under a later daemon, and
/// what that one finds running is to run.
void container::try_stop_for_daemon(int timeout, unit_promise promise) {
  const auto decision = check(stimulus::stop).decision;
  if (decision == verdict::later) {
    later_.push_back([this, timeout, promise] { try_stop_for_daemon(timeout, promise); });
    return;
  }
  if (record_.state.status == container_status::restarting) ++timer_ticket_;
  if (decision != verdict::go || record_.state.status == container_status::restarting) {
    deliver_ok(promise);
    return;
  }
  const bool was_paused = record_.state.status == container_status::paused;
  record_.state.status = container_status::stopping;
  on_stopped_.push_back(deliver(promise));
  end_init(stop_signal_of(record_), timeout, was_paused);
}

void container::begin_stop(int signal, int timeout, done finished) {
  record_.stopped_by_user = true;
  if (record_.state.status == container_status::restarting)
    return cancel_restart([this, finished](caf::error e) {
      event("stop");
      finished(std::move(e));
    });
  const bool was_paused = record_.state.status == container_status::paused;
  record_.state.status = container_status::stopping;
  on_stopped_.push_back(std::move(finished));
  // On record before it is done: a daemon that finds the container ended must know whether that was wanted.
  save([this, signal, timeout, was_paused, generation = record_.generation](const caf::error&) {
    if (record_.state.status == container_status::stopping && record_.generation == generation)
      end_init(signal, timeout, was_paused);
  });
}

/// Nothing runs: the pending restart will not come.
void container::cancel_restart(done cancelled) {
  ++timer_ticket_;
  record_.restart_delay_ms = 0;
  record_.state.status = container_status::exited;
  save([this, cancelled = std::move(cancelled)](caf::error e) {
    cancelled(std::move(e));
    answer_waiters({"not-running", "next-exit"});
    if (auto_remove()) begin_remove(true, [](const caf::error&) {});
  });
}

void container::end_init(int signal, int timeout, bool was_paused) {
  if (signal == SIGKILL) {
    kill_now();
    return;
  }
  if (timeout == 0) {  // both at once: who is quick enough sees the first
    event("kill", {{"signal", std::to_string(signal)}});
    if (!was_paused) send_init(signal);
    kill_now();
    if (was_paused) event("unpause");
    return;
  }
  if (was_paused) {
    pause_machine thaw;
    thaw.container_id = record_.id;
    thaw.pause = false;
    request(machine_, caf::infinite, std::move(thaw)).then([] {}, [](caf::error&) { /* the timeout kills it */ });
  }
  event("kill", {{"signal", std::to_string(signal)}});
  send_init(signal);
  if (was_paused) event("unpause");
  timer_due timer;
  timer.kind = timer_kind::stop_timeout;
  timer.ticket = ++timer_ticket_;
  if (timeout > 0) delayed_send(this, std::chrono::seconds(timeout), std::move(timer));
}

/// The stop that an earlier daemon began: as if it were asked now, since nobody knows how much time has passed.
void container::stop_again() {
  begin_stop(stop_signal_of(record_), stop_timeout_of(record_), [](const caf::error&) {});
}

/// Of a stop: its timeout kills who does not hear it.
void container::send_init(int signal) {
  signal_process s;
  s.container_id = record_.id;
  s.process_id = "init";
  s.signal = signal;
  request(machine_, caf::infinite, std::move(s)).then([] {}, [](caf::error&) {});
}

void container::kill_now(const done& failed) {
  event("kill", {{"signal", std::to_string(SIGKILL)}});
  kill_machine k;
  k.container_id = record_.id;
  request(machine_, caf::infinite, std::move(k))
      .then([] {},
            [this, failed](caf::error& e) {
              const auto why = from_caf(e);
              log::warn("kill failed", log::kv("container", record_.id), log::kv("reason", why.message()));
              if (why.code() != errc::conflict) failed(std::move(e));  // else it has ended, which is told in a moment
            });
}

void container::on_timer(const timer_due& timer) {
  if (timer.kind == timer_kind::save_exit) {
    if (!unsaved_exit_) return;  // another change of the row has saved it
    return save([this](const caf::error& e) {
      if (e) save_exit_later();
    });
  }
  if (timer.ticket != timer_ticket_) return;
  switch (timer.kind) {
    case timer_kind::stop_timeout:
    case timer_kind::kill_timeout:
      if (record_.state.status == container_status::stopping) kill_now();
      break;
    case timer_kind::save_exit:
      break;
    case timer_kind::restart:
      if (check(stimulus::restart_due).decision != verdict::go) break;
      record_.restart_count += 1;
      record_.start_wanted = true;
      begin_start([this](const caf::error& e) {
        if (e) log::warn("restart failed", log::kv("container", record_.id), log::kv("reason", from_caf(e).message()));
      });
      break;
  }
}

caf::result<void> container::restart(const restart_container& request) {
  auto promise = make_response_promise<void>();
  try_restart(request, promise);
  return promise;
}

void container::try_restart(const restart_container& request, unit_promise promise) {
  const auto signal = signal_named(request.signal, stop_signal_of(record_));
  switch (record_.state.status) {
    case container_status::running:
    case container_status::paused:
    case container_status::stopping:
      if (!signal) {
        promise.deliver(to_caf(signal.error()));
        return;
      }
      record_.start_wanted = true;
      begin_stop(*signal, stop_timeout_of(record_, request.timeout),
                 [this, promise](const caf::error&) { start_again(promise); });
      break;
    case container_status::starting:
      later_.push_back([this, request, promise] { try_restart(request, promise); });
      break;
    case container_status::restarting:
      ++timer_ticket_;
      start_again(promise);
      break;
    default:
      start_again(promise);
  }
}

/// The second half of a restart. Somebody else may have started the container meanwhile (another restart, say), which
/// is as good.
void container::start_again(unit_promise promise) {
  if (stops_with_daemon_) {  // a later daemon makes up for it
    promise.deliver(caf_error(errc::unavailable, "the daemon is shutting down"));
    return;
  }
  const done restarted = [this, promise](caf::error e) mutable {
    if (!e) event("restart");
    deliver(promise)(std::move(e));
  };
  const auto& cell = start_cell();
  switch (cell.decision) {
    case verdict::go:
      start_afresh(restarted);
      break;
    case verdict::later:
      later_.push_back([this, promise] { start_again(promise); });
      break;
    case verdict::already:
      restarted({});
      break;
    default:
      record_.start_wanted = false;
      promise.deliver(to_caf(refusal(cell, record_)));
  }
}

caf::result<void> container::kill(const kill_container& request) {
  auto promise = make_response_promise<void>();
  if (const auto signal = signal_named(request.signal, SIGKILL))
    try_kill(*signal, promise);
  else
    promise.deliver(to_caf(signal.error()));
  return promise;
}

void container::try_kill(int signal, unit_promise promise) {
  const auto& cell = check(stimulus::kill);
  if (cell.decision == verdict::later) {
    later_.push_back([this, signal, promise] { try_kill(signal, promise); });
    return;
  }
  const bool waits = record_.state.status == container_status::restarting;
  if (cell.decision != verdict::go || (!machine_ && !waits)) {
    promise.deliver(to_caf(cell.decision == verdict::refuse
                               ? refusal(cell, record_)
                               : error(errc::conflict, "container " + record_.id + " is not running")));
    return;
  }
  if (counts_as_stop(record_, signal)) record_.stopped_by_user = true;
  // Docker: a signal that is meant to end it ends the wait; others are taken and reach nobody.
  if (waits && is_meant_to_end(record_, signal)) return cancel_restart(deliver(promise));
  save_behind();
  if (waits) return deliver_ok(promise);
  if (signal == SIGKILL) {
    // By the exit, or by the kill if that fails.
    const done answer_once = [answer = deliver(promise), open = std::make_shared<bool>(true)](caf::error e) {
      if (std::exchange(*open, false)) answer(std::move(e));
    };
    on_stopped_.push_back(answer_once);
    kill_now(answer_once);
    return;
  }
  if (record_.state.status == container_status::paused && is_meant_to_end(record_, signal))
    try_pause(false, [this, signal, promise](const caf::error&) { signal_init(signal, promise); });
  else
    signal_init(signal, promise);
}

void container::signal_init(int signal, unit_promise promise) {
  if (!machine_) {
    promise.deliver(caf_error(errc::conflict, "container " + record_.id + " is not running"));
    return;
  }
  signal_process s;
  s.container_id = record_.id;
  s.process_id = "init";
  s.signal = signal;
  request(machine_, caf::infinite, std::move(s))
      .then(
          [this, promise, signal]() mutable {
            event("kill", {{"signal", std::to_string(signal)}});
            deliver_ok(promise);
          },
          [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
}

caf::result<void> container::pause(bool freeze) {
  auto promise = make_response_promise<void>();
  try_pause(freeze, deliver(promise));
  return promise;
}

void container::try_pause(bool freeze, done finished) {
  const auto& cell = check(freeze ? stimulus::pause : stimulus::unpause);
  if (cell.decision == verdict::later) {
    later_.push_back([this, freeze, finished] { try_pause(freeze, finished); });
    return;
  }
  if (cell.decision != verdict::go) {
    finished(to_caf(refusal(cell, record_)));
    return;
  }
  pause_machine p;
  p.container_id = record_.id;
  p.pause = freeze;
  const auto generation = record_.generation;
  request(machine_, caf::infinite, std::move(p))
      .then(
          [this, finished, freeze, generation] {
            const auto& now = check(freeze ? stimulus::pause : stimulus::unpause);
            if (generation != record_.generation || now.decision != verdict::go) {
              finished(caf_error(errc::conflict, "container " + record_.id + " is not running"));
              return;
            }
            record_.state.status = now.next;
            save([this, finished, freeze](caf::error e) {
              event(freeze ? "pause" : "unpause");
              finished(std::move(e));
            });
          },
          [finished](caf::error& e) { finished(std::move(e)); });
}

caf::result<void> container::resize(const resize_container& request) {
  const auto& cell = check(stimulus::resize);
  if (cell.decision != verdict::go) return to_caf(refusal(cell, record_));
  io_->resize(request.rows, request.columns);
  event("resize", {{"height", std::to_string(request.rows)}, {"width", std::to_string(request.columns)}});
  return caf::unit;
}

caf::result<void> container::rename(const rename_container& request) {
  auto promise = make_response_promise<void>();
  std::string name = request.name;
  if (!name.empty() && name[0] == '/') name.erase(0, 1);
  if (name.empty()) {
    promise.deliver(caf_error(errc::invalid_argument, "Neither old nor new names may be empty"));
    return promise;
  }
  if (name == record_.name) {
    promise.deliver(caf_error(errc::invalid_argument, "Renaming a container with the same name as its current name"));
    return promise;
  }
  // Docker puts the slash before it looks at the name.
  const std::string with_slash = request.name[0] == '/' ? request.name : '/' + request.name;
  if (auto valid = model::check_container_name(with_slash); !valid) {
    promise.deliver(to_caf(valid.error().wrap("Error when allocating new name")));
    return promise;
  }
  reserve_name r;
  r.id = record_.id;
  r.name = name;
  this->request(manager_, caf::infinite, std::move(r))
      .then(
          [this, promise](const std::string& taken) mutable {
            const auto old = std::exchange(record_.name, taken);
            save([this, promise, old](caf::error e) mutable {
              event("rename", {{"oldName", "/" + old}});
              deliver(promise)(std::move(e));
            });
          },
          [promise](caf::error& e) mutable {
            promise.deliver(to_caf(from_caf(e).wrap("Error when allocating new name")));
          });
  return promise;
}

caf::result<updated_container> container::update(const update_container& request) {
  auto promise = make_response_promise<updated_container>();
  auto asked = model::decode_update(request.body, {});
  if (!asked) {
    promise.deliver(to_caf(asked.error()));
    return promise;
  }
  const bool lives = machine_ && record_.state.status != container_status::starting;
  auto changed =
      model::apply_update(record_.host_config, *asked, lives, record_.state.status == container_status::removing);
  if (!changed) {
    promise.deliver(to_caf(changed.error().wrap("Cannot update container " + record_.id)));
    return promise;
  }
  updated_container answer;
  for (const auto& warning : asked->at("Warnings")) answer.warnings.push_back(warning.get<std::string>());
  auto finish = [this, promise, answer = std::move(answer), host_config = *changed]() mutable {
    record_.host_config = std::move(host_config);
    save([this, promise, answer = std::move(answer)](caf::error e) mutable {
      if (e) {
        promise.deliver(std::move(e));
        return;
      }
      event("update");
      promise.deliver(std::move(answer));
    });
  };
  if (!lives) {
    finish();
    return promise;
  }
  update_resources u;
  u.container_id = record_.id;
  u.host_config = changed->dump();
  this->request(machine_, caf::infinite, std::move(u))
      .then([finish]() mutable { finish(); }, [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
  return promise;
}

caf::result<json_document> container::inspect(const inspect_container& request) {
  auto promise = make_response_promise<json_document>();
  model::inspect_extras extras;
  extras.exec_ids = s_.execs.of_container(record_.id);
  extras.data_root = s_.ctx.config.data_root;
  if (!request.size) {
    json_document d;
    d.text = model::inspect_json(record_, extras);
    promise.deliver(std::move(d));
    return promise;
  }
  offload(
      this, *s_.ctx.port, *s_.ctx.pool,
      [dir = container_dir(), layers = record_.layers] { return measure(dir, layers); },
      [this, promise, extras](const container_sizes& sizes) mutable {
        extras.with_size = true;
        extras.size_rw = sizes.writable;
        extras.size_root_fs = sizes.root_fs;
        json_document d;
        d.text = model::inspect_json(record_, extras);
        promise.deliver(std::move(d));
      });
  return promise;
}

caf::result<json_document> container::top(const top_container& request) {
  auto promise = make_response_promise<json_document>();
  if (!machine_ || record_.state.status == container_status::starting) {
    promise.deliver(caf_error(errc::conflict, "container " + record_.id + " is not running"));
    return promise;
  }
  list_processes l;
  l.container_id = record_.id;
  this->request(machine_, caf::infinite, std::move(l))
      .then(
          [this, promise, args = request.ps_args](const process_list& list) mutable {
            offload(
                this, *s_.ctx.port, *s_.ctx.pool, [list, args] { return process_table(list, args); },
                [this, promise](const result<std::string>& table) mutable {
                  if (!table) {
                    promise.deliver(to_caf(table.error()));
                    return;
                  }
                  event("top");
                  json_document d;
                  d.text = *table;
                  promise.deliver(std::move(d));
                });
          },
          [promise](caf::error& e) mutable { promise.deliver(std::move(e)); });
  return promise;
}

caf::result<machine_actor> container::running_machine() const {
  if (machine_ && record_.state.status != container_status::starting) return machine_;
  return caf_error(errc::conflict, "container " + record_.id + " is not running");
}

/// Shown as long as it lasts; nothing is done about it, since who waits for the machine has a deadline of its own.
void container::on_unresponsive(const machine_unresponsive& report) {
  if (report.generation != record_.generation || unresponsive_ == report.unresponsive) return;
  unresponsive_ = report.unresponsive;
  log::warn(unresponsive_ ? "machine does not answer" : "machine answers again", log::kv("container", record_.id));
  if (!record_.details.is_object()) return;
  if (unresponsive_)
    record_.details["Unresponsive"] = true;
  else
    record_.details.erase("Unresponsive");
  show([](const caf::error&) { /* the next change shows it */ });
}

caf::result<json_document> container::stats() {
  if (!machine_) return caf_error(errc::conflict, "container " + record_.id + " is not running");
  machine_stats m;
  m.container_id = record_.id;
  return delegate(machine_, std::move(m));
}

}  // namespace arca
