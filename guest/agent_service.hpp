// The gRPC side of the agent (guest/proto/agent.proto): gRPC's threads only carry calls to the loop and answers back.
#pragma once
#include <functional>
#include <memory>

#include "guest/agent.hpp"
#include "guest/loop.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class agent_service {
 public:
  /// `listener` accepts the daemon's connections. `ended` is called after Shutdown was answered.
  agent_service(loop& on, agent& what, unique_fd listener, std::function<void()> ended);
  agent_service(const agent_service&) = delete;
  agent_service& operator=(const agent_service&) = delete;
  ~agent_service();

 private:
  struct implementation;
  std::unique_ptr<implementation> implementation_;
};

}  // namespace arca::guest
