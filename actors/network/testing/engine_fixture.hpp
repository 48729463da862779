// For tests of single managers: an actor system with the real state store, a collector in place of the event bus, and
// nothing else of the engine. Include it in one file of a test program that does not link arca_engine: it stands in for
// the parts of the context that managers of networks and volumes never touch.
#pragma once
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <cstdlib>

#include "actors/core/ask.hpp"
#include "actors/core/context.hpp"
#include "actors/events/testing/event_collector.hpp"
#include "actors/store/state_store.hpp"
#include "persistence/base/fs.hpp"

namespace arca {
class stream_registry {};
class stdio_service {};
class process_io_registry {};
inline engine_context::engine_context() = default;
inline engine_context::~engine_context() = default;

namespace testing {

struct caf_settings : caf::actor_system_config {
  caf_settings() {
    add_message_types<caf::id_block::arca_store>();
    add_message_types<caf::id_block::arca_events>();
    add_message_types<caf::id_block::arca_images>();
    add_message_types<caf::id_block::arca_networks>();
    add_message_types<caf::id_block::arca_volumes>();
    add_message_types<caf::id_block::arca_core>();
    add_error_category(caf::atom("arca"), [](uint8_t, caf::atom_value, const caf::message& m) {
      return m.match_elements<std::string>() ? m.get_as<std::string>(0) : std::string{};
    });
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", size_t{2});
  }
};

/// One daemon's life over `dir`; make another on the same folder for a restart.
class small_engine {
 public:
  explicit small_engine(const std::string& dir, const std::string& bridge = "arcat0") {
    ctx.config.data_root = dir;
    ctx.config.bridge_name = bridge;
    system_ = std::make_unique<caf::actor_system>(config_);
    ctx.port = std::make_unique<async_port>(*system_);
    ctx.pool = std::make_unique<blocking_pool>(4);
    ctx.actors = std::make_unique<introspection>();
    auto db = store::state_db::open(dir + "/state.db");
    if (!db) std::abort();
    ctx.store = spawn_state_store(*system_, ctx, std::move(*db));
    ctx.events = system_->spawn<event_collector>(*ctx.actors, events);
  }
  ~small_engine() {
    for (const auto& handle : {caf::actor_cast<caf::actor>(ctx.networks), caf::actor_cast<caf::actor>(ctx.volumes),
                               caf::actor_cast<caf::actor>(ctx.store), caf::actor_cast<caf::actor>(ctx.events)})
      if (handle) caf::anon_send_exit(handle, caf::exit_reason::user_shutdown);
    ctx.networks = nullptr;
    ctx.volumes = nullptr;
    ctx.store = nullptr;
    ctx.events = nullptr;
    ctx.actors->await_empty(std::chrono::seconds(20));
    system_->await_all_actors_done();
    ctx.pool.reset();
    ctx.port.reset();
    system_.reset();
  }

  template <class T, class Handle, class Message>
  result<T> ask(const Handle& handle, const Message& message) {
    return ask_sync(*system_, handle, std::chrono::seconds(20), message);
  }
  caf::actor_system& system() { return *system_; }

  engine_context ctx;
  std::shared_ptr<collected_events> events = std::make_shared<collected_events>();

 private:
  caf_settings config_;
  std::unique_ptr<caf::actor_system> system_;
};

struct temporary_folder {
  std::string path = "/tmp/net-test-XXXXXX";
  temporary_folder() {
    if (::mkdtemp(path.data()) == nullptr) std::abort();
  }
  ~temporary_folder() { (void)fs::remove_tree(path); }
};

}  // namespace testing
}  // namespace arca
