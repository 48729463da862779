// The daemon's end of one call StdioStream.Open (guest/proto/agent.proto): gRPC's messages on one side, a socket pair
// on the other. gRPC's threads only post to the pump's loop.
#pragma once
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "guest/proto/bytes_message.hpp"
#include "guest/proto/stdio_frame.hpp"
#include "guest/tunnel_relay.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

class stdio_stream final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           private guest::tunnel_messages,
                           public std::enable_shared_from_this<stdio_stream> {
 public:
  /// `socket` is the relay's end. `gone`: on the pump's loop, when nothing of the call is left.
  stdio_stream(unique_fd socket, std::function<void(stdio_stream*)> gone);

  using stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;
  void start(stub& to, const stdio::hello& hello);
  /// With a hello of kind exec and its ExecRequest. `started`: once, on the pump's loop, with the agent's first frame.
  void start(stub& to, const stdio::hello& hello, const std::string& request, std::chrono::milliseconds limit,
             std::function<void(result<stdio::frame>)> started);
  /// From any thread: the connection ends now.
  void cancel();

  void OnReadDone(bool good) override;
  void OnWriteDone(bool good) override;
  void OnWritesDoneDone(bool good) override;
  void OnDone(const grpc::Status& status) override;

 private:
  void send(std::string bytes) override;
  void send_end() override;
  void receive() override;
  void close(result<void> how) override;
  void begin(stub& to, grpc::Slice first);
  void on_started(const std::string& bytes);
  void answer(result<stdio::frame> how);
  void end();

  guest::loop& loop_;
  grpc::ClientContext context_;
  grpc::ByteBuffer in_, out_;
  std::function<void(stdio_stream*)> gone_;
  guest::tunnel_relay relay_;
  std::function<void(result<stdio::frame>)> started_;  ///< while it is waited for
  guest::loop::timer_id limit_ = 0;
  bool greeted_ = false;
  bool over_ = false;  ///< nothing is started any more
  std::shared_ptr<stdio_stream> self_;
};

}  // namespace arca::vm
