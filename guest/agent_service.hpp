// The gRPC side of the agent (guest/proto/agent.proto): gRPC's threads only carry calls to the loop and answers back.
#pragma once
#include <functional>
#include <memory>

#include "guest/agent.hpp"
#include "guest/loop.hpp"
#include "guest/vm/calls.hpp"
#include "guest/worker.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class agent_service {
 public:
  /// `vm`: null in a machine that shares the host's kernel. `ended` is called after Shutdown was answered.
  agent_service(loop& on, agent& what, worker& threads, vm_calls* vm, std::function<void()> ended);
  agent_service(const agent_service&) = delete;
  agent_service& operator=(const agent_service&) = delete;
  ~agent_service();

  /// Accepts the daemon's connections from now on. gRPC starts with the first.
  void listen(unique_fd listener);
  /// Starts gRPC.
  result<void> prepare();
  /// A connection, after prepare(): the only one. Who made it ends it.
  void serve(unique_fd connection);

 private:
  struct implementation;
  std::unique_ptr<implementation> implementation_;
};

}  // namespace arca::guest
