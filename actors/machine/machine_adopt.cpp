// Taking a machine over that an earlier daemon, or an earlier actor, made.
#include "actors/machine/machine.hpp"
#include "actors/machine/machine_views.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {

using namespace std::chrono_literals;
constexpr int adopt_ms = 10'000;  // who is given up is killed: a host that swaps takes longer than a quiet one
/// Of machines with a kernel of their own: twenty of them on two cores, emulated, all answer a new daemon at once, and
/// one that is given up is killed.
constexpr int adopt_vm_ms = 30'000;
constexpr size_t most_adopted = 4096;  ///< processes of one machine: each gets a connection

struct adopt_outcome {
  shared_backend backend;
  std::shared_ptr<vm::machine> box;
  std::shared_ptr<const launch::order> order;
  vm::agent_hello hello;
  std::optional<error> gone;
};

result<adopt_outcome> take_over(const machine_backends& backends, const adopt_machine& request,
                                const std::string& container_dir) {
  adopt_outcome out;
  auto record = model::from_document(request.record);
  if (!record) return fail(record.error());
  auto order = std::make_shared<launch::order>();
  order->record = std::make_shared<const model::container_record>(std::move(*record));
  out.order = std::move(order);
  const auto identity = vm::identity_from_json(request.machine);
  if (!identity || identity->id != request.container_id)
    return fail(errc::gone, "the daemon stopped while the container was being started");
  const auto kind = backends.find(identity->kind);
  if (kind == backends.end()) return fail(errc::gone, "this daemon has no machines of kind " + identity->kind);
  out.backend = kind->second;
  out.box = hold(kind->second, kind->second->reopen(*identity));
  if (auto adopted = out.box->adopt(out.box->on_host_kernel() ? adopt_ms : adopt_vm_ms); adopted) {
    out.hello = std::move(*adopted);
  } else {
    out.gone = adopted.error();
    (void)machines::keep_boot_log(*out.box, container_dir);
    // What the agent cannot end any more: nothing of it may run on without an owner.
    (void)out.box->kill_container();
  }
  return out;
}

}  // namespace

caf::result<adopted_machine> machine::adopt(const adopt_machine& request) {
  auto promise = make_response_promise<adopted_machine>();
  if (phase_ != phase::idle) {
    promise.deliver(caf_error(errc::conflict, "the machine was launched before"));
    return promise;
  }
  phase_ = phase::launching;
  generation_ = request.generation;
  offload(
      this, *ctx_.port, threads_->calls,
      [backends = backends_, request, dir = container_dir()] { return take_over(*backends, request, dir); },
      [this, promise](result<adopt_outcome> out) mutable {
        if (!out) {
          promise.deliver(to_caf(out.error()));
          return quit();
        }
        backend_ = std::move(out->backend);
        box_ = std::move(out->box);
        order_ = std::move(out->order);
        paused_ = order_->record->state.status == model::container_status::paused;
        if (out->gone) return found_dead(promise, *out->gone);
        if (out->hello.processes.size() > most_adopted)
          return found_dead(promise, {errc::gone, "the machine's agent names more processes than it can have"});
        adopted(promise, out->hello);
      });
  return promise;
}

void machine::adopted(adopted_promise promise, const vm::agent_hello& hello) {
  phase_ = phase::running;
  adopted_machine answer;
  answer.details = machines::details_of(*box_, {});
  std::optional<vm::agent_exit> init_exit;
  for (const auto& p : hello.processes) {
    if (p.container_id != id_) continue;
    if (p.process_id != "init" && p.exit) {
      // An exec that ended with the old daemon: nobody will ask for its code or output any more.
      forget_soon(p.process_id);
      continue;
    }
    auto& state = processes_[p.process_id];
    if (p.process_id == "init") {
      answer.running = !p.exit;
      answer.paused = p.paused;
      answer.pid = host_pid(p.pid);
      const auto& row = order_->record->state;
      const bool was_told = row.started_at != 0 && row.status != model::container_status::starting;
      began_ = was_told ? row.started_at : believable(p.started_at, row.started_at);
      answer.started_at = began_;
      pid_ = p.exit ? 0 : p.pid;
      init_exit = p.exit;
    }
    state.io = ctx_.processes->find(id_, p.process_id);
    // The output of an exec whose client went with the old daemon is read and dropped, or it would block.
    if (!state.io) state.io = process_io::make(*ctx_.stdio, {});
    reconnect(p.process_id);
  }
  if (!processes_.contains("init")) {
    // It has a machine but no container: the daemon stopped between the two.
    promise.deliver(caf_error(errc::gone, "the daemon stopped while the container was being started"));
    return close();
  }
  if (!init_exit) {
    promise.deliver(std::move(answer));
    return watch();
  }
  // The exit is told when the output before it is in the log.
  init_settled_ = [this, promise, answer]() mutable {
    const auto& exit = *processes_["init"].exit;
    answer.exited = true;
    answer.exit_code = exit.code;
    answer.exited_at = exit.at;
    answer.oom_killed = exit.oom_killed;
    promise.deliver(std::move(answer));
  };
  exit_known("init", *init_exit, {});
  watch();
}

/// The agent is no more. What it wrote about the end counts; without that the end is 137 with a reason.
void machine::found_dead(adopted_promise promise, const error& why) {
  phase_ = phase::dead;
  const auto exits = launch::read_exit_journal(box_->identity().dir, id_);
  const auto init = exits.find("init");
  log::info("machine is gone", log::kv("container", id_), log::kv("reason", why.message()));
  if (init == exits.end()) {
    promise.deliver(caf_error(errc::gone, why.message()));
    return close();
  }
  adopted_machine answer;
  answer.exited = true;
  answer.exit_code = init->second.code;
  answer.exited_at = init->second.at;
  answer.oom_killed = init->second.oom_killed;
  processes_["init"].reported = true;
  promise.deliver(std::move(answer));
}

}  // namespace arca
