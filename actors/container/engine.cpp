// The root of the actor tree: what is started in which order, what is stopped in which (reverse), and the lock on the
// data root. The order is load-bearing: each manager may be asked for by those below it in this list.
#include "actors/engine.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <caf/all.hpp>
#include <cstdio>

#include "actors/container/internal.hpp"
#include "actors/core/ask.hpp"
#include "actors/core/errors.hpp"
#include "actors/events/event_bus.hpp"
#include "actors/image/image_manager.hpp"
#include "actors/machine/machine_manager.hpp"
#include "actors/network/network_manager.hpp"
#include "actors/store/state_store.hpp"
#include "actors/streams/process_io.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "actors/volume/volume_manager.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "vm/qemu/vm_status.hpp"

namespace arca {
namespace {
constexpr size_t blocking_threads = 32;
constexpr size_t stdio_threads = 2;
constexpr std::chrono::milliseconds actors_patience(3000);

result<unique_fd> lock_data_root(const std::string& root) {
  ARCA_TRY(fd, fs::open(root + "/lock", O_RDWR | O_CREAT));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(errc::conflict, "data root " + root + " is in use by another arca daemon");
  return std::move(fd);
}

/// Containers whose row is missing (a create that was cut off) leave only a folder.
std::vector<std::string> folders_of_no_container(const settings& config, const directory& known) {
  const std::string root = config.data_root + "/containers";
  std::vector<std::string> found;
  for (const auto& name : fs::list(root).value_or(std::vector<std::string>()))
    if (known.by_id().count(name) == 0) found.push_back(root + "/" + name);
  return found;
}

void sweep(const std::vector<std::string>& folders) {
  for (const auto& folder : folders) {
    log::info("removing the files of no container", log::kv("folder", folder));
    if (auto removed = fs::remove_tree(folder); !removed)
      log::warn("not removed", log::kv("folder", folder), log::kv("reason", removed.error().message()));
  }
}
}  // namespace

engine_context::engine_context() = default;
engine_context::~engine_context() = default;

struct engine::impl {
  caf::actor_system* system = nullptr;
  unique_fd lock;
  bool stopped = false;
};

void engine::register_messages(caf::actor_system_config& config) {
  config.add_message_types<caf::id_block::arca_store>();
  config.add_message_types<caf::id_block::arca_events>();
  config.add_message_types<caf::id_block::arca_images>();
  config.add_message_types<caf::id_block::arca_networks>();
  config.add_message_types<caf::id_block::arca_volumes>();
  config.add_message_types<caf::id_block::arca_containers>();
  config.add_error_category(caf::atom("arca"), [](uint8_t code, caf::atom_value, const caf::message& context) {
    return std::string(to_string(static_cast<errc>(code))) + ": " +
           (context.match_elements<std::string>() ? context.get_as<std::string>(0) : caf::to_string(context));
  });
}

result<std::unique_ptr<engine>> engine::start(caf::actor_system& system, settings config) {
  ARCA_TRY(failpoint, failpoint::armed());
  if (failpoint) log::warn("ARCA_FAILPOINT is set: this daemon will kill itself", log::kv("at", *failpoint));
  ARCA_CHECK(fs::make_dirs(config.data_root, 0711));
  for (const char* part : {"/containers", "/volumes", "/layers", "/blobs", "/guest"})
    ARCA_CHECK(fs::make_dirs(config.data_root + part, 0711));
  ARCA_CHECK(fs::make_dirs(config.run_root + "/machines", 0711));
  ARCA_TRY(lock, lock_data_root(config.data_root));
  ARCA_TRY(db, store::state_db::open(config.data_root + "/state.db"));

  std::unique_ptr<engine> e(new engine);
  e->impl_ = std::make_unique<impl>();
  e->impl_->system = &system;
  e->impl_->lock = std::move(lock);
  e->directory_ = std::make_unique<published_directory>();
  e->execs_ = std::make_unique<exec_index>();
  e->context_ = std::make_unique<engine_context>();
  auto& ctx = *e->context_;
  ctx.config = std::move(config);
  ARCA_TRY(boot_id, fs::read_file("/proc/sys/kernel/random/boot_id"));
  ctx.boot_id = boot_id.substr(0, boot_id.find('\n'));
  ctx.port = std::make_unique<async_port>(system);
  ctx.pool = std::make_unique<blocking_pool>(blocking_threads);
  ctx.actors = std::make_unique<introspection>();
  ctx.streams = std::make_unique<stream_registry>();
  ctx.stdio = std::make_unique<stdio_service>(stdio_threads);
  ctx.processes = std::make_unique<process_io_registry>();
  ctx.vms = std::make_shared<vm::published_vm_status>();

  ctx.store = spawn_state_store(system, ctx, std::move(db));
  ctx.events = spawn_event_bus(system, ctx);
  ctx.images = spawn_image_manager(system, ctx);
  ctx.networks = spawn_network_manager(system, ctx);
  ctx.volumes = spawn_volume_manager(system, ctx);
  ctx.machines = spawn_machine_manager(system, ctx);
  ctx.containers = spawn_container_manager(system, {ctx, *e->directory_, *e->execs_});

  if (auto recovered = ask_sync(system, ctx.containers, std::chrono::seconds(60), recover_containers()); !recovered)
    return fail(recovered.error().wrap("recovery of containers"));
  // Listed before the first request can be served: what a create makes later is none of these.
  ctx.pool->post([doomed = folders_of_no_container(ctx.config, *e->containers())] { sweep(doomed); });
  return e;
}

void engine::stop() {
  if (!impl_ || impl_->stopped) return;
  impl_->stopped = true;
  auto& ctx = *context_;
  if (ctx.config.stop_containers_on_exit) {
    stop_all_containers all;
    all.timeout = ctx.config.shutdown_timeout;
    if (auto stopped =
            ask_sync(*impl_->system, ctx.containers, std::chrono::seconds(ctx.config.shutdown_timeout + 3), all);
        !stopped)
      log::warn("not every container stopped in time");
  }
  // Reverse order; containers keep running with their agents. Handles stay until nobody is left who might read them.
  const auto end = [](const auto& handle) { caf::anon_send_exit(handle, caf::exit_reason::user_shutdown); };
  const auto all = containers();
  for (const auto& [id, entry] : all->by_id()) end(entry.handle);
  directory_->set(std::make_shared<directory>());
  execs_->clear();
  end(ctx.containers);
  end(ctx.machines);
  end(ctx.volumes);
  if (auto put_away = ask_sync(*impl_->system, ctx.networks, actors_patience, remove_idle_devices()); !put_away)
    log::warn("network devices stay", log::kv("reason", put_away.error().message()));
  end(ctx.networks);
  end(ctx.images);
  end(ctx.events);
  // The store last: what the others sent before is in its mailbox and is committed before its exit.
  end(ctx.store);
  if (ctx.actors->await_empty(actors_patience)) {
    ctx.containers = nullptr;
    ctx.machines = nullptr;
    ctx.volumes = nullptr;
    ctx.networks = nullptr;
    ctx.images = nullptr;
    ctx.events = nullptr;
    ctx.store = nullptr;
    return;
  }
  for (const auto& row : ctx.actors->snapshot())
    log::error("an actor has not ended", log::kv("actor", row.path), log::kv("message", row.message));
}

engine::~engine() {
  stop();
}

}  // namespace arca
