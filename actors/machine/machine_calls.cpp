// What is asked of a running machine.
#include "actors/core/promise.hpp"
#include "actors/machine/machine.hpp"
#include "persistence/base/log.hpp"
#include "vm/oci/spec.hpp"

namespace arca {
namespace {
using namespace std::chrono_literals;
constexpr auto quick_limit = 5000ms;       ///< signal, resize, processes, stats
constexpr auto launcher_limit = 30'000ms;  ///< exec, update: a program is run
constexpr auto kill_patience = 2s;
constexpr size_t largest_statistics = 256 << 10;

void execute(vm::agent_client& agent, const std::shared_ptr<launch::prepared_exec>& plan,
             vm::agent_client::callback<vm::agent_started> done) {
  if (!plan->hello) return agent.exec(plan->request, launcher_limit, std::move(done));
  agent.exec(plan->request, *plan->hello, launcher_limit,
             [plan, done = std::move(done)](result<vm::agent_attached> attached) {
               if (!attached) return done(fail(attached.error()));
               plan->stdio = std::move(attached->stdio);
               done(attached->process);
             });
}
}  // namespace

std::optional<caf::error> machine::not_running() const {
  if (phase_ == phase::running && box_) return std::nullopt;
  return caf_error(errc::conflict, "container " + id_ + " is not running");
}

caf::result<process_started> machine::start(const start_process& request) {
  auto promise = make_response_promise<process_started>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  auto io = ctx_.processes->find(id_, request.process_id);
  offload(
      this, *ctx_.port, threads_->calls,
      [box = box_, order = order_, root = root_, pid = pid_, io, request] {
        return launch::prepare_exec(*box, *order->record, root, pid, request.process_id, request.process, io);
      },
      [this, promise, io](result<launch::prepared_exec> prepared) mutable {
        if (!prepared) {
          promise.deliver(to_caf(prepared.error()));
          return;
        }
        auto plan = std::make_shared<launch::prepared_exec>(std::move(*prepared));
        // A quick process ends before the call is answered: its exit is reported only when its output has been read.
        auto& state = processes_[plan->request.process_id];
        if (plan->stdio || plan->hello) state.binding = ++bindings_;
        call_agent<vm::agent_started>(
            [plan](vm::agent_client& agent, auto done) { execute(agent, plan, std::move(done)); },
            [this, promise, io, plan](result<vm::agent_started> started) mutable {
              if (!started) {
                processes_.erase(plan->request.process_id);
                plan->words.text = started.error().message();
                promise.deliver(to_caf(started.error().code() == errc::internal ? oci::launch_error(plan->words)
                                                                                : started.error()));
                return;
              }
              process_started answer;
              answer.pid = started->pid;
              promise.deliver(std::move(answer));
              // The exit may have come while the call was being answered, and be settled long ago if that took long.
              if (!processes_.contains(plan->request.process_id)) return;
              if (plan->stdio) bind(plan->request.process_id, std::move(plan->stdio), io);
              settle(plan->request.process_id, false);
            });
      });
  return promise;
}

caf::result<void> machine::signal(const signal_process& request) {
  auto promise = make_response_promise<void>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  call_agent<void>(
      [request](vm::agent_client& agent, auto done) {
        agent.signal(request.container_id, request.process_id, request.signal, false, quick_limit, std::move(done));
      },
      [promise](result<void> done) mutable {
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(done.error()));
      });
  return promise;
}

caf::result<void> machine::resize(const resize_process& request) {
  auto promise = make_response_promise<void>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  call_agent<void>(
      [request](vm::agent_client& agent, auto done) {
        agent.resize(request.container_id, request.process_id, request.rows, request.columns, quick_limit,
                     std::move(done));
      },
      [promise](result<void> done) mutable {
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(done.error()));
      });
  return promise;
}

caf::result<void> machine::pause(const pause_machine& request) {
  auto promise = make_response_promise<void>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  offload(
      this, *ctx_.port, threads_->calls, [box = box_, request] { return request.pause ? box->pause() : box->resume(); },
      [this, promise, pause = request.pause](result<void> done) mutable {
        if (done) paused_ = pause;
        if (!paused_) heard();  // what it did not answer while it stood is no sign
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(done.error()));
      });
  return promise;
}

/// Does not ask the agent. When it has not reported the end within two seconds it is taken for dead and killed as well.
caf::result<void> machine::kill(const kill_machine&) {
  auto promise = make_response_promise<void>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  offload(
      this, *ctx_.port, threads_->calls, [box = box_] { return box->kill_container(); },
      [this, promise](result<void> done) mutable {
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(done.error()));
        machine_timer timer;
        timer.kind = machine_timer_kind::kill_late;
        timer.process_id = "init";
        delayed_send(this, kill_patience, std::move(timer));
      });
  return promise;
}

caf::result<process_list> machine::processes(const list_processes& request) {
  auto promise = make_response_promise<process_list>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  call_agent<vm::agent_process_table>(
      [request](vm::agent_client& agent, auto done) {
        agent.processes(request.container_id, quick_limit, std::move(done));
      },
      [promise](result<vm::agent_process_table> table) mutable {
        if (!table) {
          promise.deliver(to_caf(table.error()));
          return;
        }
        process_list answer;
        for (auto& each : table->processes) {
          process_facts facts;
          facts.pid = each.pid;
          facts.stat = std::move(each.stat);
          facts.command = std::move(each.command);
          facts.uid = each.uid;
          answer.processes.push_back(std::move(facts));
        }
        answer.uptime = table->uptime;
        answer.memory_kib = table->memory_kib;
        answer.now = table->now;
        promise.deliver(std::move(answer));
      });
  return promise;
}

caf::result<json_document> machine::statistics(const machine_stats& request) {
  auto promise = make_response_promise<json_document>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  call_agent<std::string>(
      [request](vm::agent_client& agent, auto done) {
        agent.stats(request.container_id, quick_limit, std::move(done));
      },
      [promise](result<std::string> text) mutable {
        if (!text) {
          promise.deliver(to_caf(text.error()));
          return;
        }
        if (text->size() > largest_statistics || !nlohmann::json::parse(*text, nullptr, false).is_object()) {
          promise.deliver(caf_error(errc::internal, "the machine's agent sent no statistics"));
          return;
        }
        json_document answer;
        answer.text = std::move(*text);
        promise.deliver(std::move(answer));
      });
  return promise;
}

caf::result<void> machine::update(const update_resources& request) {
  auto promise = make_response_promise<void>();
  if (auto problem = not_running()) {
    promise.deliver(std::move(*problem));
    return promise;
  }
  const auto host_config = nlohmann::json::parse(request.host_config, nullptr, false);
  const auto refused = [id = request.container_id](const error& why) {
    return to_caf(error(why.code(), why.message() + '\n')
                      .wrap("runc did not terminate successfully: exit status 1")
                      .wrap("Cannot update container " + id));
  };
  if (auto good = oci::check_cpu_shares(host_config); !good) {
    promise.deliver(refused(good.error()));
    return promise;
  }
  call_agent<void>(
      [id = request.container_id,
       resources = oci::build_resources(host_config, box_->on_host_kernel() ? oci::this_host() : oci::guest_kernel())](
          vm::agent_client& agent, auto done) {
        agent.update_resources(id, resources, launcher_limit, std::move(done));
      },
      [promise, refused](result<void> done) mutable {
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(refused(done.error()));
      });
  return promise;
}

}  // namespace arca
