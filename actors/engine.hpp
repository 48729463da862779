// arca::engine: the whole container engine as a library. The daemon is one user of it (http/ in front),
// tools/embed_example another. It lives inside any caf::actor_system (whose config had register_messages called on it).
#pragma once
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <memory>

#include "actors/container/directory.hpp"
#include "actors/core/context.hpp"

namespace arca {

class engine {
 public:
  /// Adds the engine's message types and error category to a config, before the actor_system is made.
  static void register_messages(caf::actor_system_config& config);

  /// Opens the data root (errc::conflict when another engine holds it), starts the actor tree and takes up again what
  /// an earlier engine left. Answers when look-ups are right; adoption of running containers goes on behind.
  static result<std::unique_ptr<engine>> start(caf::actor_system& system, settings config);

  /// Stops accepting work, flushes, detaches from running containers (or stops them, as the settings say). Bounded: 10
  /// s.
  void stop();
  ~engine();

  engine_context& context() { return *context_; }
  std::shared_ptr<const directory> containers() const { return directory_->get(); }
  exec_index& execs() { return *execs_; }

 private:
  engine() = default;
  struct impl;
  std::unique_ptr<engine_context> context_;
  std::unique_ptr<published_directory> directory_;
  std::unique_ptr<exec_index> execs_;
  std::unique_ptr<impl> impl_;
};

}  // namespace arca
