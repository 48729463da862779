// One Events call. Events wait here while the daemon does not read; each exit comes once a stream, OOM events are
// capped.
#pragma once
#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <mutex>

#include "guest/agent.hpp"
#include "guest/proto/agent.grpc.pb.h"
#include "persistence/base/tsan.hpp"

namespace arca::guest {

void fill(arca::agent::v1::Exit& into, const exit_record& r);

class event_stream final : public grpc::ServerWriteReactor<arca::agent::v1::Event> {
 public:
  /// `done` is called on a gRPC thread when gRPC is through with the stream, which may then be deleted.
  explicit event_stream(std::function<void(event_stream*)> done) : done_(std::move(done)) { ARCA_TSAN_RELEASE(this); }

  void push(const event& what);
  void end(const grpc::Status& status);

  void OnWriteDone(bool good) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  std::function<void(event_stream*)> done_;
  std::mutex guard_;
  std::deque<arca::agent::v1::Event> queue_;
  bool over_ = false;
};

}  // namespace arca::guest
