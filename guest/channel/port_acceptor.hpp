// Waits at the port for the line of a new connection and echoes it. Then the port is the connection's, until it is
// given back with resume(). All on the loop.
#pragma once
#include <functional>
#include <string>

#include "guest/channel/handshake.hpp"
#include "guest/loop.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// What one read of the port gives at most: the driver's buffer. A shorter read would cut it.
inline constexpr size_t port_buffer = 4096;

class port_acceptor {
 public:
  /// `port` is non-blocking. `connected`: the echo is written, HTTP/2 follows.
  port_acceptor(loop& on, unique_fd port, std::function<void()> connected);
  port_acceptor(const port_acceptor&) = delete;
  port_acceptor& operator=(const port_acceptor&) = delete;
  ~port_acceptor();

  int port() const { return port_.get(); }
  const handshake& lines() const { return lines_; }
  /// The connection is over. `line` is the one that ended it and is still to be echoed; empty: it ended by itself.
  void resume(std::string line);

 private:
  void on_port();
  void take(std::string line);
  void write_echo();

  loop& loop_;
  unique_fd port_;
  std::function<void()> connected_;
  handshake lines_;
  std::string echo_;  ///< what is left to be written
  loop::timer_id give_up_ = 0;
};

}  // namespace arca::guest
