// How ends are noticed and told: exits of processes, the end of their output, the death of the agent, the teardown.
#include <algorithm>
#include <caf/send.hpp>

#include "actors/core/promise.hpp"
#include "actors/machine/machine.hpp"
#include "actors/machine/machine_views.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using namespace std::chrono_literals;
constexpr auto output_patience = 2s;  ///< for the rest of the output after an exit
constexpr auto reconnect_after = 50ms;
constexpr int reconnect_limit = 20;
constexpr auto quick_limit = 5000ms;
constexpr auto forget_pace = 100ms;
constexpr int exit_killed = 137;
/// Between events that no agent has to tell, and OOM kills: it can send them without end.
constexpr auto event_pace = 10ms, slow_event_pace = 200ms;
constexpr int most_strange_events = 100;  ///< before the slow pace: an exec whose start was given up has an end too
constexpr auto follow_after = 1s;
constexpr int most_lost_streams = 3;

/// Sends to the actor if it is still there; for callbacks on foreign threads, which must not keep it alive.
class weak_sender {
 public:
  explicit weak_sender(const caf::strong_actor_ptr& self) : self_(caf::actor_cast<caf::actor_addr>(self)) {}
  template <class Message>
  void operator()(Message message) const {
    if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(self_))
      caf::anon_send(caf::actor_cast<machine_internal>(strong), std::move(message));
  }

 private:
  caf::actor_addr self_;
};
}  // namespace

/// Events of the agent and the end of its process.
void machine::watch() {
  follow_events();
  const weak_sender tell{caf::strong_actor_ptr(ctrl())};
  if (box_->exit_fd() >= 0) backend_->exits().once(box_->exit_fd(), [tell] { tell(machine_process_ended()); });
  begin_pings();
}

/// Exits that happened before, and were not acknowledged, come as the first events.
void machine::follow_events() {
  const weak_sender tell{caf::strong_actor_ptr(ctrl())};
  box_->agent().subscribe(
      [tell](const vm::agent_event& e) {
        machine_event event;
        event.container_id = e.container_id;
        event.process_id = e.process_id;
        event.exit = e.exit.has_value();
        if (e.exit) {
          event.code = e.exit->code;
          event.at = e.exit->at;
          event.oom_killed = e.exit->oom_killed;
        }
        tell(std::move(event));
      },
      [tell](const error&) {
        machine_timer ended;
        ended.kind = machine_timer_kind::events_ended;
        tell(std::move(ended));
      });
}

/// Mostly the agent's process ends too, and tells it better. An agent that lives and sends no events is of no use: the
/// container's end would never be known.
void machine::events_ended() {
  if (phase_ != phase::running) return;
  if (++lost_streams_ <= most_lost_streams) {
    machine_timer again;
    again.kind = machine_timer_kind::follow_again;
    delayed_send(this, follow_after, std::move(again));
    return;
  }
  log::error("the machine's agent does not tell what happens in it: it is killed", log::kv("container", id_));
  ctx_.pool->post([box = box_] { box->kill(); });
}

/// A machine's clock is its guest's to set. What cannot be is made to fit.
int64_t machine::believable(int64_t at, int64_t earliest) {
  return std::min(std::max(at, earliest), now_nanos());
}

void machine::bind(const std::string& process_id, unique_fd socket, std::shared_ptr<process_io> io) {
  if (!io) return;
  auto& state = processes_[process_id];
  state.io = std::move(io);
  state.binding = ++bindings_;
  const weak_sender tell{caf::strong_actor_ptr(ctrl())};
  state.io->bind(std::move(socket), [tell, process_id, binding = state.binding](const stdio_end& how) {
    machine_stdio_ended ended;
    ended.process_id = process_id;
    ended.binding = binding;
    ended.complete = how.complete;
    ended.exited = how.exited;
    ended.code = how.code;
    ended.at = how.at;
    tell(std::move(ended));
  });
}

void machine::reconnect(const std::string& process_id) {
  auto& state = processes_[process_id];
  state.binding = ++bindings_;  // not complete until the new connection is
  offload(
      this, *ctx_.port, threads_->calls,
      [box = box_, io = state.io, id = id_, process_id] {
        return box->connect_stdio(id, process_id, io->next_sequence());
      },
      [this, process_id, binding = state.binding](result<unique_fd> socket) {
        auto& current = processes_[process_id];
        if (current.binding != binding) return;
        if (socket) return bind(process_id, std::move(*socket), current.io);
        machine_stdio_ended ended;
        ended.process_id = process_id;
        ended.binding = binding;
        on_stdio_ended(ended);
      });
}

/// The first news of the end of a process that was started here. An agent's mistake is not another container's.
bool machine::is_expected(const machine_event& event) const {
  const auto found = processes_.find(event.process_id);
  return event.exit && event.container_id == id_ && found != processes_.end() && !found->second.exit;
}

void machine::on_event(const machine_event& event) {
  if (!box_) return;
  heard();
  if (is_expected(event)) {
    lost_streams_ = 0;
    vm::agent_exit exit;
    exit.code = event.code;
    exit.at = event.at;
    exit.oom_killed = event.oom_killed;
    exit_known(event.process_id, exit, {});
    return box_->agent().next_event();
  }
  const bool is_oom = !event.exit && event.container_id == id_;
  if (is_oom && phase_ == phase::running) {
    machine_oom report;
    report.container_id = id_;
    report.generation = generation_;
    send(observer_, std::move(report));
  }
  machine_timer next;
  next.kind = machine_timer_kind::next_event;
  const bool slow = !is_oom && ++strange_events_ > most_strange_events;
  delayed_send(this, slow ? slow_event_pace : event_pace, std::move(next));
}

void machine::exit_known(const std::string& process_id, const vm::agent_exit& exit, std::string why) {
  auto& state = processes_[process_id];
  if (state.exit || state.reported) return;
  state.exit = exit;
  state.exit->at = state.exit->at == 0 ? now_nanos() : believable(state.exit->at, began_);
  state.error = std::move(why);
  if (process_id == "init") keep_log();
  settle(process_id, false);
  if (state.reported) return;
  machine_timer timer;
  timer.kind = machine_timer_kind::output_late;
  timer.process_id = process_id;
  delayed_send(this, output_patience, std::move(timer));
}

void machine::keep_log() {
  if (box_->on_host_kernel()) return;
  keeping_log_ = std::make_shared<std::atomic<bool>>(true);
  offload(
      this, *ctx_.port, *ctx_.pool,
      [box = box_, dir = container_dir(), wanted = keeping_log_] {
        return *wanted && machines::keep_boot_log(*box, dir);
      },
      [this](bool) {
        keeping_log_.reset();
        settle("init", false);
      });
}

void machine::on_stdio_ended(const machine_stdio_ended& ended) {
  const auto found = processes_.find(ended.process_id);
  if (found == processes_.end() || found->second.binding != ended.binding) return;
  auto& state = found->second;
  if (ended.complete || phase_ != phase::running || ++state.broken > reconnect_limit) {
    state.binding = 0;
    if (!ended.exited || ended.process_id == "init" || state.exit) return settle(ended.process_id, false);
    heard();
    vm::agent_exit exit;
    exit.code = ended.code;
    exit.at = ended.at;
    return exit_known(ended.process_id, exit, {});
  }
  machine_timer timer;
  timer.kind = machine_timer_kind::reconnect;
  timer.process_id = ended.process_id;
  delayed_send(this, reconnect_after, std::move(timer));
}

void machine::settle(const std::string& process_id, bool output_is_late) {
  const auto found = processes_.find(process_id);
  if (found == processes_.end()) return;
  auto& state = found->second;
  if (!state.exit || state.reported) return;
  const bool waits = state.binding != 0 || (process_id == "init" && keeping_log_);
  if (waits && !output_is_late) return;
  if (process_id == "init" && keeping_log_) *keeping_log_ = false;
  report(process_id, state);
}

void machine::report(const std::string& process_id, process_state& state) {
  state.reported = true;
  if (process_id == "init") {
    pid_ = 0;
    root_.reset();
    if (init_settled_) {
      auto answer = std::move(init_settled_);
      init_settled_ = nullptr;
      return answer();
    }
  }
  machine_exited told;
  told.container_id = id_;
  told.process_id = process_id;
  told.generation = generation_;
  told.exit_code = state.exit->code;
  told.at = state.exit->at;
  told.oom_killed = state.exit->oom_killed;
  told.error = state.error;
  send(observer_, std::move(told));
}

void machine::on_timer(const machine_timer& timer) {
  switch (timer.kind) {
    case machine_timer_kind::output_late:
      settle(timer.process_id, true);
      break;
    case machine_timer_kind::reconnect:
      if (const auto found = processes_.find(timer.process_id);
          found != processes_.end() && phase_ == phase::running && !found->second.reported)
        reconnect(timer.process_id);
      break;
    case machine_timer_kind::next_event:
      if (box_) box_->agent().next_event();
      break;
    case machine_timer_kind::events_ended:
      events_ended();
      break;
    case machine_timer_kind::follow_again:
      if (phase_ == phase::running) follow_events();
      break;
    case machine_timer_kind::ping:
      ping_if_silent();
      break;
    case machine_timer_kind::forget_execs:
      forget_execs();
      break;
    case machine_timer_kind::kill_late: {
      if (phase_ != phase::running || processes_["init"].exit) break;
      log::warn("the machine's agent does not report the end of a killed container", log::kv("container", id_));
      vm::agent_exit exit;
      exit.code = exit_killed;
      exit_known("init", exit, "the machine's agent did not answer and was killed");
      ctx_.pool->post([box = box_] { box->kill(); });
      break;
    }
  }
}

/// The agent has died under its containers: they end with it.
void machine::on_process_ended() {
  if (phase_ != phase::running) return;
  phase_ = phase::dead;
  log::error("the machine's agent has ended unexpectedly", log::kv("container", id_),
             log::kv("pid", box_->identity().pid));
  offload(
      this, *ctx_.port, *ctx_.pool,
      [box = box_, id = id_] {
        (void)box->kill_container();
        return launch::read_exit_journal(box->identity().dir, id);
      },
      [this](const std::map<std::string, vm::agent_exit>& exits) {
        for (auto& [process_id, state] : processes_) {
          if (const auto known = exits.find(process_id); known != exits.end()) {
            exit_known(process_id, known->second, {});
          } else {
            vm::agent_exit exit;
            exit.code = exit_killed;
            exit_known(process_id, exit, "the machine's agent ended unexpectedly");
          }
        }
      });
}

caf::result<void> machine::acknowledge(const acknowledge_exit& request) {
  auto promise = make_response_promise<void>();
  deliver_ok(promise);
  if (request.process_id == "init") {
    close();
    return promise;
  }
  if (const auto found = processes_.find(request.process_id); found != processes_.end()) {
    if (!found->second.exit) return promise;  // a start that failed: there is nothing to forget
    processes_.erase(found);
  }
  forget_soon(request.process_id);
  return promise;
}

/// Nobody waits for it, so it is done for several at a time, and not while the next exec is being started.
void machine::forget_soon(const std::string& exec) {
  forgotten_.push_back(exec);
  if (forgotten_.size() > 1) return;
  machine_timer later;
  later.kind = machine_timer_kind::forget_execs;
  delayed_send(this, forget_pace, std::move(later));
}

void machine::forget_execs() {
  auto execs = std::exchange(forgotten_, {});
  if (phase_ != phase::running || execs.empty()) return;
  call_agent<void>(
      [id = id_, execs = std::move(execs)](vm::agent_client& agent, auto done) {
        agent.acknowledge(id, execs, quick_limit, std::move(done));
      },
      [](const result<void>&) { /* it forgets at the latest with the machine */ });
}

/// Init's exit is committed. Nothing of the container is needed any more.
void machine::close() {
  if (phase_ == phase::closing) return;
  phase_ = phase::closing;
  for (auto& [process_id, state] : processes_)  // a client that does not read keeps an exec's output from its end
    if (process_id != "init" && state.exit && !state.reported) report(process_id, state);
  processes_.clear();
  published_.clear();
  root_.reset();
  end_machine();
}

void machine::end_machine() {
  if (!box_) return quit();
  offload(
      this, *ctx_.port, *ctx_.pool,
      [box = box_] {
        box->destroy();
        return 0;
      },
      [this](int) { quit(); });
}

}  // namespace arca
