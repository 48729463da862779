// Where a tunnel ends inside the machine, and how the connection there is made.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "guest/agent.hpp"
#include "guest/loop.hpp"
#include "guest/relay_server.hpp"
#include "guest/worker.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

struct tunnel_target {
  enum class kind : uint8_t { tcp, udp, unix_socket, relayed };
  kind to = kind::tcp;
  std::string host;  ///< tcp, udp: numeric
  uint32_t port = 0;
  std::string path;         ///< unix_socket
  uint64_t connection = 0;  ///< relayed
  std::string container;    ///< whose network or root; empty: the machine's
};

class tunnel_opener {
 public:
  using opened = std::function<void(result<unique_fd>)>;

  tunnel_opener(loop& on, agent& what, worker& threads, relay_server& relays)
      : loop_(on), agent_(what), worker_(threads), relays_(relays) {}
  /// A connected, non-blocking socket, or errc::unavailable with the kernel's word for why not. On the loop.
  void open(const tunnel_target& target, opened done);

 private:
  void open_network(const tunnel_target& target, pid_t init, opened done);
  void open_unix(const tunnel_target& target, pid_t init, opened done);
  void await_connected(unique_fd socket, opened done);

  loop& loop_;
  agent& agent_;
  worker& worker_;
  relay_server& relays_;
};

}  // namespace arca::guest
