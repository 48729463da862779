// One call StdioStream.Open: the daemon's connection for the bytes of a process, without a socket in between. gRPC's
// threads only post to the loop.
#pragma once
#include <grpcpp/grpcpp.h>

#include <optional>

#include "guest/agent.hpp"
#include "guest/loop.hpp"
#include "guest/proto/bytes_message.hpp"
#include "guest/stdio_connection.hpp"

namespace arca::guest {

class stdio_call final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  /// `done` is called on the loop when gRPC is through with the call, which may then be deleted.
  stdio_call(loop& on, agent& what, std::function<void(stdio_call*)> done);
  ~stdio_call() override;
  /// Instead of any of that.
  void refuse(const grpc::Status& status) { finish(status); }

  void OnReadDone(bool good) override;
  void OnWriteDone(bool good) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  class connection;

  void on_message();
  void greet();
  void exec(const stdio::hello& hello);
  void adopt(const stdio::hello& hello);
  void read_more();
  void tell(bool readable, bool writable);
  ssize_t send(const outgoing* parts, size_t count, bool last);
  ssize_t receive(char* into, size_t room);
  void released();
  void abandon_untold();
  void finish(const grpc::Status& status);

  loop& loop_;
  agent& agent_;
  std::function<void(stdio_call*)> done_;
  connection* connection_ = nullptr;  ///< while somebody has it
  stdio_connection::ready tell_;
  std::function<void()> tell_end_;
  grpc::ByteBuffer in_, out_;
  std::string first_;                   ///< goes out with what comes next
  std::optional<stdio::hello> untold_;  ///< of an exec that runs, while the daemon may not know
  arca::agent::message_bytes incoming_;
  bool greeted_ = false;
  bool reading_ = false, input_over_ = false;
  /// To say that more may come is a message of its own, which an exec that is over soon can do without.
  bool answers_first_ = false;
  bool writing_ = false, blocked_ = false;
  bool closing_ = false;   ///< after the message that is under way
  bool finished_ = false;  ///< nothing is started any more
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace arca::guest
