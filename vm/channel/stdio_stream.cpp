#include "vm/channel/stdio_stream.hpp"

#include <cstring>
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

void stdio_stream::open(stub& to) {
  self_ = shared_from_this();
  ahead_ = true;
  used_ = false;
  reading_ = true;
  to.PrepareBidiStreamingCall(&context_, method, {}, this);
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  AddHold();
  StartRead(&in_);  // tells of its end as well
  StartCall();
}

void stdio_stream::start(stub& to, const stdio::hello& hello) {
  begin(to, grpc::Slice(&hello, sizeof hello));
}

bool stdio_stream::claim(exec& what) {
  const std::lock_guard lock(claiming_);
  if (ended_unused_) return false;
  used_ = true;
  started_ = std::move(what.started);
  if (ahead_) AddHold();  // until the write is started
  return true;
}

bool stdio_stream::is_unused() {
  const std::lock_guard lock(claiming_);
  return !used_;
}

bool stdio_stream::start(stub& to, exec what) {
  const auto limit = what.limit;
  std::string first(reinterpret_cast<const char*>(&what.hello), sizeof what.hello);
  if (!claim(what)) return false;
  loop_.post([keep = shared_from_this(), limit] {
    if (!keep->started_) return;
    keep->limit_ = keep->loop_.after(limit, [it = keep.get()] {
      it->limit_ = 0;
      it->answer(fail(errc::timeout, "the machine's agent does not answer"));
      it->context_.TryCancel();
    });
  });
  begin(to, grpc::Slice(first + what.request));
  return true;
}

void stdio_stream::begin(stub& to, grpc::Slice first) {
  out_ = agent::to_message(std::move(first));
  if (ahead_) {
    ARCA_TSAN_RELEASE(&calls::through_grpc);
    StartWrite(&out_);
    return RemoveHold();
  }
  self_ = shared_from_this();
  // The call and its first message go together: each arrival interrupts the machine.
  context_.set_initial_metadata_corked(true);
  to.PrepareBidiStreamingCall(&context_, method, {}, this);
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
    reading_ = false;
    if (over_) return;
    if (!good) return end();
    agent::message_bytes bytes;
    if (!bytes.take(in_) || is_unused())
      return close(fail(errc::internal, "the machine's agent sent something else than bytes"));
    if (greeted_) return on_message(bytes.all());
    early_ = bytes.all();
  });
}

void stdio_stream::on_message(std::string bytes) {
  if (started_) return on_started(bytes);
  relay_.received(std::move(bytes));
}

void stdio_stream::on_started(const std::string& bytes) {
  stdio::frame started;
  if (bytes.size() >= sizeof started) std::memcpy(&started, bytes.data(), sizeof started);
  if (bytes.size() < sizeof started || started.kind != stdio::frame_kind::started || started.length != 0)
    return close(fail(errc::internal, "the machine's agent does not say that the process has started"));
  answer(started);
  if (bytes.size() == sizeof started) return relay_.start();
  relay_.start_with(bytes.substr(sizeof started));
}

void stdio_stream::answer(result<stdio::frame> how) {
  loop_.cancel(limit_);
  if (const auto tell = std::exchange(started_, nullptr)) tell(std::move(how));
}

void stdio_stream::OnWriteDone(bool good) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, good] {
    if (over_) return;
    // The agent ends the call behind its last bytes: what cannot be sent any more must not cut those off.
    if (!good) return greeted_ ? void() : end();
    if (std::exchange(greeted_, true)) return relay_.sent();
    if (early_) return on_message(*std::exchange(early_, std::nullopt));
    if (started_) return receive();
    relay_.start();
  });
}

void stdio_stream::OnWritesDoneDone(bool good) {
  OnWriteDone(good);
}

void stdio_stream::OnDone(const grpc::Status& status) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, status] {
    const auto keep = std::move(self_);
    answer(
        fail(status.ok() ? error{errc::unavailable, "the machine's agent ended the call"} : calls::to_error(status)));
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
  if (std::exchange(reading_, true)) return;
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartRead(&in_);
}

// After a clean end the agent ends the call too; cancelling could overtake the last bytes.
void stdio_stream::close(result<void> how) {
  if (!how) {
    answer(fail(how.error()));
    context_.TryCancel();
  }
  end();
}

void stdio_stream::end() {
  if (std::exchange(over_, true)) return;
  {
    const std::lock_guard lock(claiming_);
    ended_unused_ = !used_;
  }
  relay_.broken();
  RemoveHold();
}

}  // namespace arca::vm
