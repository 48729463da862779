// The daemon's end of one call StdioStream.Open (guest/proto/agent.proto): gRPC's messages on one side, a socket pair
// on the other. gRPC's threads only post to the pump's loop.
#pragma once
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
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
  /// Makes the call, ahead of its start, which then costs the agent no more than a message.
  void open(stub& to);
  void start(stub& to, const stdio::hello& hello);
  struct exec {
    stdio::hello hello;   ///< of kind exec
    std::string request;  ///< its ExecRequest
    std::chrono::milliseconds limit;
    std::function<void(result<stdio::frame>)> started;  ///< once, on the pump's loop, with the agent's first frame
  };
  /// False: a call that was open has ended meanwhile, and nothing has happened.
  bool start(stub& to, exec what);
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
  bool claim(exec& what);
  bool is_unused();
  void on_message(std::string bytes);
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
  std::optional<std::string> early_;  ///< came before the first write was known to be done
  bool greeted_ = false;
  bool reading_ = false;
  bool over_ = false;  ///< nothing is started any more
  // A call that is made ahead may end while it is being taken into use.
  std::mutex claiming_;
  bool ahead_ = false, used_ = true, ended_unused_ = false;
  std::shared_ptr<stdio_stream> self_;
};

}  // namespace arca::vm
