// For tests of image_manager: an actor system with the real state store and streams, a collector in place of the event
// bus, and nothing else of the engine. Include it in one file of a program that does not link arca_engine.
#pragma once
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "actors/core/ask.hpp"
#include "actors/core/context.hpp"
#include "actors/events/testing/event_collector.hpp"
#include "actors/image/image_manager.hpp"
#include "actors/store/state_store.hpp"
#include "actors/streams/byte_channel.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "persistence/base/fs.hpp"

namespace arca {
inline engine_context::engine_context() = default;
inline engine_context::~engine_context() = default;

namespace testing {

struct caf_settings : caf::actor_system_config {
  caf_settings() {
    add_message_types<caf::id_block::arca_store>();
    add_message_types<caf::id_block::arca_events>();
    add_message_types<caf::id_block::arca_images>();
    add_message_types<caf::id_block::arca_core>();
    add_error_category(caf::atom("arca"), [](uint8_t, caf::atom_value, const caf::message& m) {
      return m.match_elements<std::string>() ? m.get_as<std::string>(0) : std::string{};
    });
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", size_t{2});
  }
};

struct temporary_folder {
  std::string path;
  temporary_folder() {
    const char* base = std::getenv("ARCA_TEST_DIR");
    path = std::string(base != nullptr ? base : "/tmp") + "/arca-image-test-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) std::abort();
  }
  ~temporary_folder() { static_cast<void>(fs::remove_tree(path)); }
};

/// One daemon's life over `dir`; make another on the same folder for a restart.
class image_engine {
 public:
  explicit image_engine(const std::string& dir, std::map<std::string, registry_settings> registries = {}) {
    ctx.config.data_root = dir;
    ctx.config.registries = std::move(registries);
    system_ = std::make_unique<caf::actor_system>(config_);
    ctx.port = std::make_unique<async_port>(*system_);
    ctx.pool = std::make_unique<blocking_pool>(32);
    ctx.actors = std::make_unique<introspection>();
    ctx.streams = std::make_unique<stream_registry>();
    auto db = store::state_db::open(dir + "/state.db");
    if (!db) std::abort();
    ctx.store = spawn_state_store(*system_, ctx, std::move(*db));
    ctx.events = system_->spawn<event_collector>(*ctx.actors, seen_);
    ctx.images = spawn_image_manager(*system_, ctx);
  }
  ~image_engine() {
    caf::anon_send_exit(ctx.images, caf::exit_reason::user_shutdown);
    ctx.images = nullptr;
    caf::anon_send_exit(ctx.events, caf::exit_reason::user_shutdown);
    ctx.events = nullptr;
    caf::anon_send_exit(ctx.store, caf::exit_reason::user_shutdown);
    ctx.store = nullptr;
    ctx.actors->await_empty(std::chrono::seconds(20));  // they use the pool to their end
    system_->await_all_actors_done();
    ctx.pool.reset();
    ctx.port.reset();
    system_.reset();
  }

  template <class Message>
  auto ask(Message message) {
    return ask_sync(*system_, ctx.images, std::chrono::minutes(5), std::move(message));
  }

  /// Every byte of a stream of the manager.
  std::string drain(stream_id id) {
    auto s = ctx.streams->take(id);
    if (!s) return "no such stream";
    std::string out;
    for (auto pieces = s->output->read_blocking(); !pieces.empty(); pieces = s->output->read_blocking())
      for (const auto& p : pieces) out += *p;
    return out;
  }
  /// The lines of a pull; an error before the first of them as {"message": …}.
  std::string pull(const std::string& name, const std::string& tag, const std::string& platform = {},
                   const std::string& auth = {}) {
    pull_image q;
    q.reference = name;
    q.tag = tag;
    q.platform = platform;
    q.registry_auth = auth;
    auto id = ask(q);
    return id ? drain(*id) : nlohmann::json{{"message", id.error().message()}}.dump();
  }
  nlohmann::json inspect(const std::string& name) {
    inspect_image q;
    q.reference = name;
    auto text = ask(q);
    return text ? nlohmann::json::parse(text->text) : nlohmann::json{{"message", text.error().message()}};
  }
  nlohmann::json list(list_images q = {}) {
    auto text = ask(q);
    return text ? nlohmann::json::parse(text->text) : nlohmann::json{{"message", text.error().message()}};
  }
  nlohmann::json remove(const std::string& name, bool force = false, std::vector<std::string> running = {}) {
    remove_image q;
    q.reference = name;
    q.force = force;
    q.running = std::move(running);
    auto text = ask(q);
    return text ? nlohmann::json::parse(text->text) : nlohmann::json{{"message", text.error().message()}};
  }
  /// Waits for `count`, 20 s at most: an answer may overtake the events before it.
  std::vector<publish_event> events(size_t count) {
    std::unique_lock guard(seen_->lock);
    seen_->arrived.wait_for(guard, std::chrono::seconds(20), [&] { return seen_->all.size() >= count; });
    return std::exchange(seen_->all, {});
  }

  engine_context ctx;

 private:
  caf_settings config_;
  std::shared_ptr<collected_events> seen_ = std::make_shared<collected_events>();
  std::unique_ptr<caf::actor_system> system_;
};

}  // namespace testing
}  // namespace arca
