// One Tunnel call: the stream's messages on one side, a relay of the connection's bytes on the other. gRPC's threads
// only post to the loop.
#pragma once
#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "guest/loop.hpp"
#include "guest/proto/agent.grpc.pb.h"
#include "guest/tunnel_relay.hpp"
#include "guest/tunnel_target.hpp"

namespace arca::guest {

class tunnel_call final : public grpc::ServerBidiReactor<arca::agent::v1::TunnelData, arca::agent::v1::TunnelData>,
                          private tunnel_messages {
 public:
  /// `done` is called on the loop when gRPC is through with the call, which may then be deleted.
  tunnel_call(loop& on, tunnel_opener& opener, std::function<void(tunnel_call*)> done);
  /// Instead of any of that.
  void refuse(const grpc::Status& status);

  void OnReadDone(bool good) override;
  void OnWriteDone(bool good) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void send(std::string bytes) override;
  void send_end() override;
  void receive() override;
  void close(result<void> how) override;

  void on_message();
  void open();
  void opened(result<unique_fd> got);
  void finish(const grpc::Status& status);

  loop& loop_;
  tunnel_opener& opener_;
  std::function<void(tunnel_call*)> done_;
  arca::agent::v1::TunnelData in_, out_;
  bool datagrams_ = false;
  bool finished_ = false;
  enum class stage : uint8_t { target, connecting, connected } stage_ = stage::target;
  std::optional<tunnel_relay> relay_;
  std::shared_ptr<tunnel_call*> alive_;  ///< of a connection that is being made: null when this has gone
};

}  // namespace arca::guest
