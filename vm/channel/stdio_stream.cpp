#include "vm/channel/stdio_stream.hpp"

#include <utility>

#include "persistence/base/tsan.hpp"
#include "vm/agent_calls.hpp"
#include "vm/channel/pump_loop.hpp"

namespace arca::vm {
namespace {
constexpr const char* method = "/arca.agent.v1.StdioStream/Open";
}

stdio_stream::stdio_stream(unique_fd socket, std::function<void(stdio_stream*)> gone)
    : loop_(pump_loop()),
      gone_(std::move(gone)),
      relay_(loop_, std::move(socket), false, static_cast<guest::tunnel_messages&>(*this)) {}

void stdio_stream::start(grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>& stub,
                         const stdio::hello& hello) {
  self_ = shared_from_this();
  stub.PrepareBidiStreamingCall(&context_, method, {}, this);
  out_ = agent::to_message(grpc::Slice(&hello, sizeof hello));
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  AddHold();  // messages are started from the loop
  StartWrite(&out_);
  StartCall();
}

void stdio_stream::cancel() {
  context_.TryCancel();
  loop_.post([keep = shared_from_this()] { keep->end(); });
}

void stdio_stream::OnReadDone(bool good) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, good] {
    if (over_) return;
    if (!good) return end();
    agent::message_bytes bytes;
    if (!bytes.take(in_)) return close(fail(errc::internal, "the machine's agent sent something else than bytes"));
    relay_.received(bytes.all());
  });
}

void stdio_stream::OnWriteDone(bool good) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, good] {
    if (over_) return;
    if (!good) return end();
    if (std::exchange(greeted_, true)) return relay_.sent();
    relay_.start();
  });
}

void stdio_stream::OnWritesDoneDone(bool good) {
  OnWriteDone(good);
}

void stdio_stream::OnDone(const grpc::Status&) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this] {
    const auto keep = std::move(self_);
    end();
    gone_(this);
  });
}

void stdio_stream::send(std::string bytes) {
  out_ = agent::to_message(grpc::Slice(bytes));
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartWrite(&out_);
}

void stdio_stream::send_end() {
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartWritesDone();
}

void stdio_stream::receive() {
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartRead(&in_);
}

// After a clean end the agent ends the call too; cancelling could overtake the last bytes.
void stdio_stream::close(result<void> how) {
  if (!how) context_.TryCancel();
  end();
}

void stdio_stream::end() {
  if (std::exchange(over_, true)) return;
  relay_.broken();
  RemoveHold();
}

}  // namespace arca::vm
