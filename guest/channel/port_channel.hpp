// Connections over the machine's port, one after the other: each new line ends the one before.
#pragma once
#include <functional>
#include <memory>

#include "guest/loop.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class port_channel {
 public:
  /// Gets each connection as a descriptor for gRPC, on the loop.
  using serve = std::function<void(unique_fd)>;
  virtual ~port_channel() = default;
  /// Hands the port what gRPC has written so far. On the loop.
  virtual void flush() = 0;
};

/// A socket pair between gRPC and the port. Works with any gRPC; twice the latency of direct_port.
std::unique_ptr<port_channel> bridge_port(loop& on, unique_fd port, port_channel::serve serve);
/// gRPC reads and writes the port itself. One per process; only where the link redirects gRPC's calls
/// (ARCA_DIRECT_PORT).
std::unique_ptr<port_channel> direct_port(loop& on, unique_fd port, port_channel::serve serve);

}  // namespace arca::guest
