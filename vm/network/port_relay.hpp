// Carries what the firewall's rules do not reach to a container: IPv6 clients of a published port, datagram flows that
// the kernel knew before the port was published, hosts whose rules somebody flushed. One thread, made with the first
// port.
#pragma once
#include <cstdint>
#include <memory>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/network/address.hpp"

namespace arca::net {

class port_relay {
 public:
  struct limits {
    size_t connections = 4096;  ///< of all ports; further clients are turned away
    size_t sessions = 1024;     ///< datagram clients of all ports
    int session_seconds = 90;   ///< a datagram client that says nothing for so long is forgotten
  };
  port_relay();
  explicit port_relay(limits l);
  ~port_relay();

  /// `socket` is one of bind_port's. What arrives there goes to the target, and back. Answers a handle for remove().
  result<uint64_t> add(unique_fd socket, bool datagrams, ip4 target, uint16_t port);
  /// Closes the port and its connections; the port is free when this returns (microseconds: the thread never blocks).
  void remove(uint64_t id);

 private:
  class loop;
  std::unique_ptr<loop> loop_;
};

}  // namespace arca::net
