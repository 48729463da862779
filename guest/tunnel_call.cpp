#include "guest/tunnel_call.hpp"

#include "guest/rpc_status.hpp"
#include "persistence/base/tsan.hpp"

namespace arca::guest {
namespace {
using arca::agent::v1::TunnelData;
using arca::agent::v1::TunnelTarget;

// What gRPC hands from thread to thread (persistence/base/tsan.hpp).
[[maybe_unused]] char through_grpc;

std::optional<tunnel_target> from(const TunnelTarget& target) {
  tunnel_target out;
  out.container = target.container_id();
  switch (target.where_case()) {
    case TunnelTarget::kTcp:
      out.to = tunnel_target::kind::tcp;
      out.host = target.tcp().host();
      out.port = target.tcp().port();
      return out;
    case TunnelTarget::kUdp:
      out.to = tunnel_target::kind::udp;
      out.host = target.udp().host();
      out.port = target.udp().port();
      return out;
    case TunnelTarget::kUnixPath:
      out.to = tunnel_target::kind::unix_socket;
      out.path = target.unix_path();
      return out;
    case TunnelTarget::kRelayed:
      out.to = tunnel_target::kind::relayed;
      out.connection = target.relayed();
      return out;
    case TunnelTarget::WHERE_NOT_SET:
      break;
  }
  return {};
}
}  // namespace

tunnel_call::tunnel_call(loop& on, tunnel_opener& opener, std::function<void(tunnel_call*)> done)
    : loop_(on), opener_(opener), done_(std::move(done)), alive_(std::make_shared<tunnel_call*>(this)) {
  receive();
}

void tunnel_call::refuse(const grpc::Status& status) {
  finish(status);
}

void tunnel_call::OnReadDone(bool good) {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this, good] {
    if (finished_) return;
    if (good) return on_message();
    // The daemon will send nothing more; if it has gone, OnCancel says so.
    if (relay_) return relay_->received_end();
    finish({grpc::StatusCode::INVALID_ARGUMENT, "a tunnel begins with its target"});
  });
}

void tunnel_call::OnWriteDone(bool good) {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this, good] {
    if (finished_) return;
    if (!good) return finish(grpc::Status::CANCELLED);
    if (stage_ == stage::connected) return relay_->sent();
    stage_ = stage::connected;
    relay_->start();
  });
}

void tunnel_call::OnCancel() {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this] { finish(grpc::Status::CANCELLED); });
}

void tunnel_call::OnDone() {
  ARCA_TSAN_ACQUIRE(&through_grpc);
  loop_.post([this] { done_(this); });
}

void tunnel_call::on_message() {
  if (stage_ == stage::target) return open();
  switch (in_.what_case()) {
    case TunnelData::kData:
      return relay_->received(std::move(*in_.mutable_data()));
    case TunnelData::kEnd:
      return relay_->received_end();
    default:
      finish({grpc::StatusCode::INVALID_ARGUMENT, "a tunnel carries data after its target"});
  }
}

void tunnel_call::open() {
  const auto target = in_.has_target() ? from(in_.target()) : std::nullopt;
  if (!target) return finish({grpc::StatusCode::INVALID_ARGUMENT, "a tunnel begins with its target"});
  stage_ = stage::connecting;
  datagrams_ = target->to == tunnel_target::kind::udp;
  opener_.open(*target, [alive = alive_](result<unique_fd> got) {
    if (*alive) (*alive)->opened(std::move(got));
  });
}

void tunnel_call::opened(result<unique_fd> got) {
  if (finished_) return;
  if (!got) return finish(to_status(got.error()));
  relay_.emplace(loop_, std::move(*got), datagrams_, static_cast<tunnel_messages&>(*this));
  out_.set_connected(true);
  ARCA_TSAN_RELEASE(&through_grpc);
  StartWrite(&out_);
}

void tunnel_call::receive() {
  ARCA_TSAN_RELEASE(&through_grpc);
  StartRead(&in_);
}

void tunnel_call::send(std::string bytes) {
  out_.set_data(std::move(bytes));
  ARCA_TSAN_RELEASE(&through_grpc);
  StartWrite(&out_);
}

void tunnel_call::send_end() {
  out_.set_end(true);
  ARCA_TSAN_RELEASE(&through_grpc);
  StartWrite(&out_);
}

void tunnel_call::close(result<void> how) {
  finish(to_status(how));
}

void tunnel_call::finish(const grpc::Status& status) {
  if (std::exchange(finished_, true)) return;
  *alive_ = nullptr;
  if (relay_) relay_->broken();
  ARCA_TSAN_RELEASE(&through_grpc);
  Finish(status);
}

}  // namespace arca::guest
