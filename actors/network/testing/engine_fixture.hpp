// For tests of single managers: an actor system with the real state store, a collector in place of the event bus, and
// nothing else of the engine. Include it in one file of a test program that does not link arca_engine: it stands in for
// the parts of the context that managers of networks and volumes never touch.
#pragma once
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <cstdlib>
#include <mutex>

#include "actors/core/context.hpp"
#include "actors/store/state_store.hpp"
#include "persistence/base/fs.hpp"

namespace arca {
class stream_registry {};
class stdio_service {};
class process_io_registry {};
inline engine_context::engine_context() = default;
inline engine_context::~engine_context() = default;

namespace testing {

struct collected_events {
  std::mutex lock;
  std::vector<publish_event> all;
  /// "action id" of each, and forgets them.
  std::vector<std::string> take() {
    const std::lock_guard guard(lock);
    std::vector<std::string> out;
    for (const auto& e : all) out.push_back(e.action + ' ' + e.actor_id);
    all.clear();
    return out;
  }
};

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
    ctx.events = system_->spawn([seen = events]() -> event_bus_actor::behavior_type {
      return {[seen](const publish_event& e) {
                const std::lock_guard guard(seen->lock);
                seen->all.push_back(e);
              },
              [](const subscribe_events&) { return stream_id{0}; }};
    });
    self_ = std::make_unique<caf::scoped_actor>(*system_);
  }
  ~small_engine() {
    for (const auto& handle : {caf::actor_cast<caf::actor>(ctx.networks), caf::actor_cast<caf::actor>(ctx.volumes),
                               caf::actor_cast<caf::actor>(ctx.store), caf::actor_cast<caf::actor>(ctx.events)})
      if (handle) caf::anon_send_exit(handle, caf::exit_reason::user_shutdown);
    ctx.networks = nullptr;
    ctx.volumes = nullptr;
    ctx.store = nullptr;
    ctx.events = nullptr;
    self_.reset();
    system_->await_all_actors_done();
    ctx.pool.reset();
    ctx.port.reset();
    system_.reset();
  }

  template <class T, class Handle, class Message>
  result<T> ask(const Handle& handle, const Message& message) {
    result<T> out = fail(errc::internal, "no answer");
    auto failed = [&](caf::error& e) { out = fail(from_caf(e)); };
    if constexpr (std::is_void_v<T>)
      (*self_)->request(handle, std::chrono::seconds(20), message).receive([&] { out = {}; }, failed);
    else
      (*self_)
          ->request(handle, std::chrono::seconds(20), message)
          .receive([&](T& value) { out = std::move(value); }, failed);
    return out;
  }
  caf::actor_system& system() { return *system_; }

  engine_context ctx;
  std::shared_ptr<collected_events> events = std::make_shared<collected_events>();

 private:
  caf_settings config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<caf::scoped_actor> self_;
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
