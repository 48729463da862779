#include "actors/machine/machine_manager.hpp"

#include <caf/actor_system.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <set>

#include "actors/core/promise.hpp"
#include "actors/machine/internal.hpp"
#include "actors/machine/machine_views.hpp"
#include "persistence/base/log.hpp"
#include "vm/namespace/namespace_backend.hpp"
#include "vm/oci/capabilities.hpp"
#include "vm/oci/seccomp.hpp"
#include "vm/qemu/qemu_backend.hpp"

namespace arca {
namespace {

vm::qemu_backend_settings qemu_settings(const settings& config) {
  vm::qemu_backend_settings out;
  out.run_root = config.run_root;
  out.data_root = config.data_root;
  out.guest = [config] { return vm::find_guest(config); };
  out.qemu = config.qemu_path;
  out.accelerator = config.vm_accelerator == "kvm"   ? vm::accelerator_choice::kvm
                    : config.vm_accelerator == "tcg" ? vm::accelerator_choice::tcg
                                                     : vm::accelerator_choice::automatic;
  out.cgroup_parent = config.cgroup_parent + "-vm";
  out.size = {static_cast<uint64_t>(config.vm_memory), static_cast<unsigned>(config.vm_cpus)};
  if (config.vm_pool >= 0)
    out.pool = static_cast<unsigned>(config.vm_pool);
  else if (config.default_runtime == "vm")
    out.pool.reset();
  out.pool_memory_mib = static_cast<uint64_t>(config.vm_pool_memory);
  out.pool_idle = std::chrono::seconds(config.vm_pool_idle);
  return out;
}

class machine_manager : public tracked<machine_manager_actor::base> {
 public:
  machine_manager(caf::actor_config& config, engine_context& ctx)
      : tracked(config, *ctx.actors, "/machines", "machine_manager"), ctx_(ctx) {
    vm::namespace_settings settings;
    settings.run_root = ctx.config.run_root;
    settings.guest_path = guest_program(ctx.config);
    settings.cgroup_parent = ctx.config.cgroup_parent;
    settings.agent_pool = ctx.config.agent_pool;
    machine_backends made;
    made["namespace"] = std::make_shared<vm::namespace_backend>(std::move(settings));
    auto for_vms = qemu_settings(ctx.config);
    for_vms.on_verdict = [status = ctx.vms](const vm::kvm_verdict& verdict) { status->set_acceleration(verdict); };
    vms_ = std::make_shared<vm::qemu_backend>(std::move(for_vms));
    made["vm"] = vms_;
    backends_ = std::make_shared<const machine_backends>(std::move(made));
    set_down_handler([this](caf::down_msg& down) { machines_.erase(down.source); });
  }

  behavior_type make_behavior() override {
    return {
        [this](const make_machine& order) -> machine_actor {
          auto made = spawn_machine(system(), ctx_, backends_, threads_, order);
          monitor(made);
          machines_.insert(caf::actor_cast<caf::actor_addr>(made));
          return made;
        },
        [this](const sweep_machines&) { return sweep(); },
        [this](const look_at_host&) { return look(); },
        [this](const show_machine& request) {
          return document([machine = request.machine] { return machines::show(machine); });
        },
        [this](const read_boot_log& request) {
          return document([request, dir = ctx_.config.data_root + "/containers/" + request.container_id] {
            return machines::boot_log(request, dir);
          });
        },
    };
  }

  /// The actors end, their machines go on.
  void on_exit() override {
    for (const auto& address : machines_)
      if (auto strong = caf::actor_cast<caf::strong_actor_ptr>(address))
        caf::anon_send_exit(caf::actor_cast<caf::actor>(strong), caf::exit_reason::user_shutdown);
    machines_.clear();
    // Its idle agents are waited for, its threads joined: not here.
    ctx_.pool->post([backends = std::move(backends_), vms = std::move(vms_), threads = std::move(threads_)]() mutable {
      vms.reset();
      backends.reset();
      threads.reset();
    });
  }

 private:
  /// What was adopted has been taken into the backend by its actor; all else that looks like ours goes.
  caf::result<void> sweep() {
    auto promise = make_response_promise<void>();
    offload(
        this, *ctx_.port, *ctx_.pool,
        [backends = backends_] {
          for (const auto& [kind, backend] : *backends) {
            backend->sweep();
            backend->start_pool();
          }
          return 0;
        },
        [this, promise](int) mutable {
          deliver_ok(promise);
          ctx_.pool->post([vms = vms_, status = ctx_.vms] { status->set(vms->look()); });
        });
    ctx_.pool->post([] {  // the first start shall not pay for it
      (void)oci::ready_seccomp_for(oci::default_seccomp_profile(), oci::default_capabilities(), oci::this_host());
    });
    return promise;
  }

  caf::result<void> look() {
    auto promise = make_response_promise<void>();
    offload(
        this, *ctx_.port, *ctx_.pool,
        [vms = vms_, status = ctx_.vms] {
          status->set(vms->look());
          return 0;
        },
        [promise](int) mutable { deliver_ok(promise); });
    return promise;
  }

  /// `make` blocks and returns the text of a document.
  template <class Make>
  caf::result<json_document> document(Make make) {
    auto promise = make_response_promise<json_document>();
    offload(this, *ctx_.port, *ctx_.pool, std::move(make), [promise](result<std::string> text) mutable {
      if (!text) {
        promise.deliver(to_caf(text.error()));
        return;
      }
      json_document answer;
      answer.text = std::move(*text);
      promise.deliver(std::move(answer));
    });
    return promise;
  }

  engine_context& ctx_;
  shared_backends backends_;
  std::shared_ptr<vm::qemu_backend> vms_;
  shared_threads threads_ = std::make_shared<machine_threads>();
  std::set<caf::actor_addr> machines_;
};

}  // namespace

machine_manager_actor spawn_machine_manager(caf::actor_system& system, engine_context& ctx) {
  return system.spawn<machine_manager>(ctx);
}

}  // namespace arca
