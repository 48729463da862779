// Bytes between a connected socket and a stream of messages, both ways: what neither side reads stops the other one.
// One message of at most `most_bytes` is under way in each direction. Used in the machine and by the daemon. All on the
// loop.
#pragma once
#include <string>

#include "guest/loop.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

inline constexpr size_t most_tunnel_bytes = 256u << 10;  ///< in a message (guest/proto/agent.proto, TunnelData.data)

/// The stream of messages.
class tunnel_messages {
 public:
  virtual void send(std::string bytes) = 0;  ///< answered by tunnel_relay::sent
  virtual void send_end() = 0;               ///< nothing follows; answered by sent too
  virtual void receive() = 0;                ///< answered by received, received_end or broken
  /// Everything is over: the stream has ended in both directions, or the reason why it cannot. Once; no call follows,
  /// and none may be made of the relay.
  virtual void close(result<void> how) = 0;

 protected:
  ~tunnel_messages() = default;
};

class tunnel_relay {
 public:
  /// `datagrams`: the socket keeps message boundaries, and losing one is no failure.
  tunnel_relay(loop& on, unique_fd socket, bool datagrams, tunnel_messages& far);
  tunnel_relay(const tunnel_relay&) = delete;
  tunnel_relay& operator=(const tunnel_relay&) = delete;
  ~tunnel_relay();

  void start();
  /// With what was received already.
  void start_with(std::string bytes);
  void sent();
  void received(std::string bytes);
  void received_end();
  /// The stream has died: the socket is closed, close() does not come.
  void broken();

 private:
  void on_ready(uint32_t events);
  void read_socket();
  void write_socket();
  void end_of_input();
  void output_lost();
  void watch();
  void finish(result<void> how);
  void finish_if_done();

  loop& loop_;
  unique_fd socket_;
  const bool datagrams_;
  tunnel_messages& far_;
  size_t hint_;              ///< size of the next read
  std::string out_;          ///< for the socket
  size_t written_ = 0;       ///< of out_
  bool sending_ = false;     ///< a message to the far side is under way
  bool in_open_ = true;      ///< the socket may give more
  bool out_open_ = true;     ///< the far side may give more
  bool discarding_ = false;  ///< the socket takes no more
  bool watched_ = false;
  loop::timer_id linger_ = 0;
};

}  // namespace arca::guest
