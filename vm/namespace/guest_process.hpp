// An arca-guest process of this host: how it is started, recognised and ended (guest/proto/start.hpp).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

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

/// Field 22 of /proc/PID/stat, 0 when there is no such process.
uint64_t start_time_of(pid_t pid);
std::string host_boot_id();
/// True when the descriptor's process has ended. Collects it if it was our child.
bool has_ended(int pidfd);
/// Waits at most `ms` for the end.
bool wait_for_end(int pidfd, int ms);
void send_signal(int pidfd, int number);

struct found_agent {
  pid_t pid = 0;
  std::string dir;
};
/// Agents of this host whose machine folder lies in `machines_dir`, by their command lines.
std::vector<found_agent> find_agents(const std::string& machines_dir);

}  // namespace arca::vm
