#include "actors/machine/machine.hpp"

#include <net/if.h>

#include <caf/actor_system.hpp>

#include "actors/machine/machine_views.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/oci/json_access.hpp"

namespace arca {
namespace {

using namespace std::chrono_literals;
constexpr int boot_ms = 60'000;  ///< an agent takes milliseconds, a VM under software emulation seconds
constexpr auto create_limit = 60'000ms;

/// Docker names the device only when the container has it.
error nic_error(const vm::nic_spec& nic, const error& why) {
  constexpr const char* failed = "failed to set up container networking";
  if (why.code() != errc::conflict && why.code() != errc::invalid_argument) return why.wrap(failed);
  const char* reason = why.code() == errc::conflict  ? "file exists"
                       : nic.name.size() >= IFNAMSIZ ? "numerical result out of range"
                                                     : "invalid argument";
  return error(errc::internal, "failed to add interface " + nic.host_name + " to sandbox: error renaming interface " +
                                   go_quote(nic.host_name) + " to " + go_quote(nic.name) + ": " + reason)
      .wrap(failed);
}

struct boot_outcome {
  std::shared_ptr<vm::machine> box;
  std::shared_ptr<const launch::order> order;
};

result<boot_outcome> boot(const shared_backend& backend, const launch_machine& request) {
  auto record = model::from_document(request.record);
  if (!record) return fail(record.error());
  auto order = std::make_shared<launch::order>();
  order->record = std::make_shared<const model::container_record>(std::move(*record));
  order->layers = request.layers;
  order->container_dir = request.container_dir;
  order->endpoints = request.endpoints;
  order->joined = request.joined;
  const auto cgroup = backend->cgroup_of(request.container_id, request.generation,
                                         oci::text(order->record->host_config, "CgroupParent"));
  boot_outcome out;
  vm::machine_order wanted;
  if (request.asked != 0) wanted.asked = vm::start_account::clock::time_point(std::chrono::nanoseconds(request.asked));
  wanted.id = request.container_id;
  wanted.cgroup = cgroup;
  ARCA_TRY(beside, launch::machine_beside(*order, request.runtime));
  wanted.beside = std::move(beside);
  wanted.host_network = launch::host_network(*order);
  wanted.memory = oci::integer_or(order->record->host_config, "Memory", 0);
  wanted.nano_cpus = oci::integer_or(order->record->host_config, "NanoCpus", 0);
  const auto annotations = oci::text_map(order->record->host_config, "Annotations");
  const auto annotation = [&](const char* name) {
    const auto found = annotations.find(name);
    return found == annotations.end() ? std::string() : found->second;
  };
  wanted.kernel_path = annotation("arca.vm.kernel-path");
  wanted.initrd_path = annotation("arca.vm.initrd-path");
  wanted.kernel_arguments = annotation("arca.vm.kernel-arguments");
  ARCA_TRY(made, backend->make(wanted));
  out.box = hold(backend, std::move(made));
  out.order = std::move(order);
  if (auto booted = out.box->boot(boot_ms); !booted) {
    // A kernel's log is long: it is kept, and the sentence names who shows it.
    std::string log;
    if (out.box->on_host_kernel())
      log = out.box->boot_log(2000);
    else if (machines::keep_boot_log(*out.box, request.container_dir) &&
             !oci::flag(out.order->record->host_config, "AutoRemove"))
      log = "`arca machine logs " + out.order->record->name + "` shows its boot log";
    out.box->destroy();
    return fail(
        booted.error().wrap("failed to create task for container: machine" + (log.empty() ? "" : " (" + log + ")")));
  }
  return out;
}

}  // namespace

machine::machine(caf::actor_config& config, engine_context& ctx, shared_backends backends, shared_threads threads,
                 const make_machine& order)
    : tracked(config, *ctx.actors, "/machines/" + order.container_id.substr(0, 12), "machine"),
      ctx_(ctx),
      backends_(std::move(backends)),
      threads_(std::move(threads)),
      id_(order.container_id),
      observer_(order.observer) {
  // A restarted observer makes a machine actor of its own, which adopts the machine: this one only lets go.
  monitor(observer_);
  set_down_handler([this](caf::down_msg&) { quit(caf::exit_reason::user_shutdown); });
  set_exception_handler([](std::exception_ptr& problem) -> caf::error {
    try {
      std::rethrow_exception(problem);
    } catch (const std::exception& what) {
      return caf_error(errc::internal, what.what());
    }
  });
}

machine::behavior_type machine::make_behavior() {
  return {
      [this](const launch_machine& request) { return begin_launch(request); },
      [this](const adopt_machine& request) { return adopt(request); },
      [this](const start_process& request) { return start(request); },
      [this](const signal_process& request) { return signal(request); },
      [this](const resize_process& request) { return resize(request); },
      [this](const pause_machine& request) { return pause(request); },
      [this](const kill_machine& request) { return kill(request); },
      [this](const acknowledge_exit& request) { return acknowledge(request); },
      [this](const list_processes& request) { return processes(request); },
      [this](const machine_stats& request) { return statistics(request); },
      [this](const update_resources& request) { return update(request); },
      [this](const dial_machine& request) { return dial(request); },
      [this](const publish_socket& request) { return publish(request); },
      [this](const write_machine_file& request) { return write_file(request); },
      [this](const make_machine_folder& request) { return make_folder(request); },
      [this](const mount_in_machine& request) { return mount(request); },
      [this](const unmount_in_machine& request) { return unmount(request); },
      [this](const set_machine_sysctls& request) { return set_sysctls(request); },
      [this](const set_machine_time& request) { return set_time(request); },
      [this](const set_up_machine_emulator& request) { return set_up_emulator(request); },
      [this](const configure_machine_interface& request) { return configure_interface(request); },
      [this](const set_machine_interface& request) { return set_interface(request); },
      [this](const remove_machine_interface& request) { return remove_interface(request); },
      [this](const change_machine_route& request) { return change_route(request); },
      [this](const machine_event& event) { on_event(event); },
      [this](const machine_stdio_ended& ended) { on_stdio_ended(ended); },
      [this](const machine_process_ended&) { on_process_ended(); },
      [this](const machine_timer& timer) { on_timer(timer); },
  };
}

/// The machine itself goes on: the next daemon, or the next actor, adopts it.
void machine::on_exit() {
  init_settled_ = nullptr;
  observer_ = nullptr;
  processes_.clear();
  published_.clear();
  // Its open calls are cancelled, which may wait for one that is being answered; the backend may end with the last one.
  ctx_.pool->post([box = std::move(box_), backend = std::move(backend_), backends = std::move(backends_),
                   threads = std::move(threads_)]() mutable {
    box.reset();
    backend.reset();
    backends.reset();
    threads.reset();
  });
}

caf::result<machine_started> machine::begin_launch(const launch_machine& request) {
  auto promise = make_response_promise<machine_started>();
  if (phase_ != phase::idle) {
    promise.deliver(caf_error(errc::conflict, "the machine was launched before"));
    return promise;
  }
  const auto kind = backends_->find(request.runtime);
  if (kind == backends_->end()) {
    promise.deliver(caf_error(errc::unsupported, "unknown or invalid runtime name: " + request.runtime));
    return promise;
  }
  backend_ = kind->second;
  phase_ = phase::launching;
  generation_ = request.generation;
  began_ = now_nanos();
  offload(
      this, *ctx_.port, threads_->boots, [backend = backend_, request] { return boot(backend, request); },
      [this, promise](result<boot_outcome> out) mutable {
        if (!out) return undo(promise, out.error());
        box_ = std::move(out->box);
        order_ = std::move(out->order);
        booted(promise);
      });
  return promise;
}

/// Root file system and network device are made side by side; the container is created when both are there.
void machine::booted(started_promise promise) {
  struct join {
    int open = 1;
    std::optional<error> failed;
    std::shared_ptr<launch::prepared> plan;
  };
  auto both = std::make_shared<join>();
  auto arrived = [this, promise, both](std::optional<error> problem) mutable {
    if (problem && !both->failed) both->failed = std::move(problem);
    if (--both->open != 0) return;
    if (both->failed)
      undo(promise, *both->failed);
    else
      create_container(promise, std::move(both->plan));
  };
  auto io = ctx_.processes->find(id_, "init");
  auto nic = launch::nic_of(*order_);
  if (!nic.name.empty()) {
    ++both->open;
    offload(
        this, *ctx_.port, threads_->calls, [box = box_, nic] { return box->attach_nic(nic); },
        [arrived, nic](result<void> done) mutable {
          arrived(done ? std::nullopt : std::optional(nic_error(nic, done.error())));
        });
  }
  offload(
      this, *ctx_.port, threads_->calls, [box = box_, order = order_, io] { return launch::prepare(*box, *order, io); },
      [both, arrived](result<launch::prepared> plan) mutable {
        if (!plan) return arrived(plan.error());
        both->plan = std::make_shared<launch::prepared>(std::move(*plan));
        arrived(std::nullopt);
      });
}

void machine::create_container(started_promise promise, std::shared_ptr<launch::prepared> plan) {
  root_ = plan->root;
  plan->times.done("network");
  call_agent<vm::agent_started>(
      [plan](vm::agent_client& agent, auto done) {
        agent.create_container(plan->request, create_limit, std::move(done));
      },
      [this, promise, plan](result<vm::agent_started> started) mutable {
        plan->times.done("create");
        if (started) return container_started(promise, *plan, *started);
        if (started.error().code() != errc::internal) return undo(promise, started.error());
        plan->words.text = started.error().message();
        undo(promise, oci::launch_error(plan->words));
      });
}

void machine::container_started(started_promise& promise, launch::prepared& plan, const vm::agent_started& started) {
  failpoint::reached("container-runs");
  phase_ = phase::running;
  pid_ = started.pid;
  machine_started answer;
  answer.machine = vm::to_json(box_->identity());
  answer.pid = host_pid(started.pid);
  answer.started_at = began_ = believable(started.started_at, began_);
  box_->start_is_over(plan.times.times());
  answer.details = machines::details_of(*box_, plan.times.times());
  if (!answer.details.empty()) ctx_.pool->post([box = box_] { box->keep_start(); });
  answer.warnings = std::move(plan.warnings);
  if (plan.stdio)
    bind("init", std::move(plan.stdio), ctx_.processes->find(id_, "init"));
  else
    processes_["init"];
  promise.deliver(std::move(answer));
  watch();
  log::debug("machine started", log::kv("container", id_), plan.times.text());
}

/// What `docker inspect` shows: of a container in a VM only the VM has a process here.
int64_t machine::host_pid(int64_t init_pid) const {
  return box_->on_host_kernel() ? init_pid : box_->identity().pid;
}

void machine::undo(started_promise& promise, const error& why) {
  log::debug("start failed", log::kv("container", id_), log::kv("reason", why.message()));
  phase_ = phase::closing;
  root_.reset();
  if (!box_ || box_->on_host_kernel()) {
    promise.deliver(to_caf(why));
    return end_machine();
  }
  offload(
      this, *ctx_.port, *ctx_.pool, [box = box_, dir = container_dir()] { return machines::keep_boot_log(*box, dir); },
      [this, promise, why](bool) mutable {
        promise.deliver(to_caf(why));
        end_machine();
      });
}

machine_internal spawn_machine(caf::actor_system& system, engine_context& ctx, shared_backends backends,
                               shared_threads threads, const make_machine& order) {
  return system.spawn<machine>(ctx, std::move(backends), std::move(threads), order);
}

}  // namespace arca
