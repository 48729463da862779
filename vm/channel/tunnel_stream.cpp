#include "vm/channel/tunnel_stream.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "persistence/base/tsan.hpp"
#include "vm/agent_calls.hpp"
#include "vm/channel/pump_loop.hpp"

namespace arca::vm {
namespace {
using arca::agent::v1::TunnelData;
using arca::agent::v1::TunnelTarget;
}  // namespace

tunnel_stream::tunnel_stream(connected done) : loop_(pump_loop()), done_(std::move(done)) {}

tunnel_stream::tunnel_stream(unique_fd socket, std::function<void()> over)
    : loop_(pump_loop()), given_(std::move(socket)), over_with_it_(std::move(over)) {}

void tunnel_stream::start(arca::agent::v1::Agent::Stub& stub, TunnelTarget target, std::chrono::milliseconds limit,
                          std::function<void(tunnel_stream*)> gone) {
  gone_ = std::move(gone);
  self_ = shared_from_this();
  datagrams_ = target.has_udp();
  *out_.mutable_target() = std::move(target);
  loop_.post([this, limit] {
    limit_ = loop_.after(limit, [this] { give_up({errc::timeout, "the machine's agent does not answer"}); });
  });
  stub.async()->Tunnel(&context_, this);
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  AddHold();  // messages are started from the loop
  StartWrite(&out_);
  StartRead(&in_);
  StartCall();
}

void tunnel_stream::cancel() {
  context_.TryCancel();
  loop_.post([keep = shared_from_this()] { keep->give_up({errc::cancelled, "the machine is being closed"}); });
}

void tunnel_stream::OnReadDone(bool good) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, good] {
    if (over_) return;
    if (good) return on_message();
    end();  // OnDone says why
  });
}

void tunnel_stream::OnWriteDone(bool good) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, good] {
    if (over_) return;
    if (!good) {
      end();
    } else if (std::exchange(target_sent_, true)) {
      relay_->sent();
    } else {
      begin_if_ready();
    }
  });
}

void tunnel_stream::OnDone(const grpc::Status& status) {
  ARCA_TSAN_ACQUIRE(&calls::through_grpc);
  loop_.post([this, status] {
    const auto keep = std::move(self_);
    end();
    if (const auto done = std::exchange(done_, {}))
      done(fail(status.ok() ? error{errc::unavailable, "the machine's agent ended the tunnel"}
                            : calls::to_error(status)));
    gone_(this);
    if (over_with_it_) over_with_it_();
  });
}

void tunnel_stream::on_message() {
  switch (in_.what_case()) {
    case TunnelData::kConnected:
      if (std::exchange(connected_, true)) break;
      return begin_if_ready();
    case TunnelData::kData:
      if (!relay_) break;
      return relay_->received(std::move(*in_.mutable_data()));
    case TunnelData::kEnd:
      if (!relay_) break;
      return relay_->received_end();
    default:
      break;
  }
  give_up({errc::internal, "the machine's agent sent something else than a tunnel's data"});
}

// The answer can overtake the news that the question was sent.
void tunnel_stream::begin_if_ready() {
  if (!connected_ || !target_sent_) return;
  if (given_) return relay(std::move(given_));
  std::array<int, 2> ends{-1, -1};
  const int type = (datagrams_ ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC;
  if (socketpair(AF_UNIX, type, 0, ends.data()) != 0) return give_up(errno_error("socket pair", errno));
  relay(unique_fd(ends[0]));
  std::exchange(done_, {})(unique_fd(ends[1]));
}

void tunnel_stream::relay(unique_fd socket) {
  loop_.cancel(limit_);
  relay_.emplace(loop_, std::move(socket), datagrams_, static_cast<guest::tunnel_messages&>(*this));
  relay_->start();
}

void tunnel_stream::send(std::string bytes) {
  out_.set_data(std::move(bytes));
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartWrite(&out_);
}

void tunnel_stream::send_end() {
  out_.set_end(true);
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartWrite(&out_);
}

void tunnel_stream::receive() {
  ARCA_TSAN_RELEASE(&calls::through_grpc);
  StartRead(&in_);
}

// After a clean end the agent ends the call too; cancelling could overtake the last bytes.
void tunnel_stream::close(result<void> how) {
  if (!how) context_.TryCancel();
  end();
}

void tunnel_stream::give_up(error why) {
  if (over_) return;
  context_.TryCancel();
  end();
  if (const auto done = std::exchange(done_, {})) done(fail(std::move(why)));
}

void tunnel_stream::end() {
  if (std::exchange(over_, true)) return;
  loop_.cancel(limit_);
  given_.reset();
  if (relay_) relay_->broken();
  RemoveHold();
}

}  // namespace arca::vm
