// Sockets inside on which the agent listens for the daemon: it is told of each connection and tunnels it to a socket of
// the host, or refuses it. They live as long as the machine. On the loop.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "guest/loop.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

struct relay_order {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0;  ///< who may connect
};
struct relayed_connection {
  uint64_t id = 0;
  std::string relay;
  uid_t uid = 0;  ///< who connected
  gid_t gid = 0;
};

class relay_server {
 public:
  static constexpr size_t most_relays = 64;
  /// Connections without a tunnel yet. More wait in the kernel's backlogs, also while there is no daemon.
  static constexpr size_t most_waiting = 32;

  relay_server(loop& on, std::string folder) : loop_(on), folder_(std::move(folder)) {}
  relay_server(const relay_server&) = delete;
  relay_server& operator=(const relay_server&) = delete;
  ~relay_server();

  /// Listens from now on, or already does so with that owner and mode. The socket as a detached mount, for containers.
  result<unique_fd> make(const relay_order& what);
  /// From now on `sink` is told of connections, beginning with those that wait. Empty: nobody is.
  void set_sink(std::function<void(const relayed_connection&)> sink);
  /// The connection, which is then the caller's; empty when there is none of this number.
  unique_fd take(uint64_t id);

 private:
  struct waiting {
    relayed_connection facts;
    unique_fd socket;
  };
  void accept(const std::string& name);
  void watch_all(bool wanted);

  loop& loop_;
  const std::string folder_;
  std::map<std::string, unique_fd> listeners_;
  std::map<uint64_t, waiting> waiting_;
  uint64_t last_id_ = 0;
  bool watched_ = true;
  std::function<void(const relayed_connection&)> sink_;
};

}  // namespace arca::guest
