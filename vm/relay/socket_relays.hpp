// The sockets of this host that one virtual machine's containers have been given as bind mounts. The agent listens in
// their place and tells of connections; each is connected to the host's socket here and tunnelled. What a machine can
// reach is what share() was called for, by number; how much, is bounded here.
#pragma once
#include <memory>
#include <string>

#include "persistence/base/error.hpp"
#include "vm/agent_client.hpp"

namespace arca::vm {

class socket_relays {
 public:
  static constexpr size_t most_sockets = 64;
  static constexpr size_t most_connections = 128;  ///< open at once; another one is refused
  static constexpr size_t most_waiting = 64;       ///< told of and not yet connected; more are not listened to

  /// `dir`: the machine's run folder, where relays.json says what was shared.
  socket_relays(std::string dir, const std::shared_ptr<agent_client>& agent);
  socket_relays(const socket_relays&) = delete;
  socket_relays& operator=(const socket_relays&) = delete;
  /// Open connections end with the agent's client.
  ~socket_relays();

  /// Of an earlier daemon: goes on with what it had shared. Its connections have ended, its listeners have not.
  result<void> resume();
  /// `file`: a socket, O_PATH. The token of the mount inside. Blocks.
  result<std::string> share(int file);

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace arca::vm
