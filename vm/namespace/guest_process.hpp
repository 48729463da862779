// An arca-guest process of this host: how it is started, recognised and ended (guest/proto/start.hpp).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/process.hpp"

namespace arca::vm {

struct guest_process {
  pid_t pid = 0;
  unique_fd pidfd;
  unique_fd pool_socket;  ///< the agent ends with it until it is configured
  std::string dir;
};

/// Makes `dir` and starts the agent in it; does not wait for it.
result<guest_process> spawn_agent(const std::string& program, const std::string& dir, bool host_network);
/// Until its sockets listen. errc::timeout, or errc::internal with the reason from its log when it has ended.
result<void> wait_until_ready(const guest_process& agent, int deadline_ms);

struct found_agent {
  pid_t pid = 0;
  std::string dir;
};
/// Agents of this host whose machine folder lies in `machines_dir`, by their command lines.
std::vector<found_agent> find_agents(const std::string& machines_dir);

}  // namespace arca::vm
