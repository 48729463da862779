// The daemon's end of one Tunnel call (guest/proto/agent.proto): gRPC's messages on one side, a socket pair on the
// other. gRPC's threads only post to the pump's loop.
#pragma once
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "guest/proto/agent.grpc.pb.h"
#include "guest/tunnel_relay.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

class tunnel_stream final : public grpc::ClientBidiReactor<arca::agent::v1::TunnelData, arca::agent::v1::TunnelData>,
                            private guest::tunnel_messages,
                            public std::enable_shared_from_this<tunnel_stream> {
 public:
  using connected = std::function<void(result<unique_fd>)>;
  /// `done`: once, on the pump's loop.
  explicit tunnel_stream(connected done);
  /// For a socket that is there; `over`: once, on the pump's loop, when nothing of the call is left.
  tunnel_stream(unique_fd socket, std::function<void()> over);

  /// `gone`: on the pump's loop, when nothing of the call is left.
  void start(arca::agent::v1::Agent::Stub& stub, arca::agent::v1::TunnelTarget target, std::chrono::milliseconds limit,
             std::function<void(tunnel_stream*)> gone);
  /// From any thread: the connection ends now.
  void cancel();

  void OnReadDone(bool good) override;
  void OnWriteDone(bool good) override;
  void OnDone(const grpc::Status& status) override;

 private:
  void send(std::string bytes) override;
  void send_end() override;
  void receive() override;
  void close(result<void> how) override;

  void on_message();
  void begin_if_ready();
  void relay(unique_fd socket);
  void give_up(error why);
  void end();

  guest::loop& loop_;
  grpc::ClientContext context_;
  arca::agent::v1::TunnelData in_, out_;
  bool datagrams_ = false;
  connected done_;
  unique_fd given_;  ///< the socket that was there
  std::function<void()> over_with_it_;
  std::function<void(tunnel_stream*)> gone_;
  std::optional<guest::tunnel_relay> relay_;
  guest::loop::timer_id limit_ = 0;
  bool target_sent_ = false, connected_ = false;
  bool over_ = false;  ///< nothing is started any more
  std::shared_ptr<tunnel_stream> self_;
};

}  // namespace arca::vm
