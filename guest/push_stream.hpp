// One call that is answered by a stream of messages. They wait here while the daemon does not read.
#pragma once
#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "persistence/base/tsan.hpp"

namespace arca::guest {

template <class Message>
class push_stream final : public grpc::ServerWriteReactor<Message> {
 public:
  /// `done` is called on a gRPC thread when gRPC is through with the stream, which may then be deleted.
  explicit push_stream(std::function<void(push_stream*)> done) : done_(std::move(done)) { ARCA_TSAN_RELEASE(this); }

  /// Dropped when more than `most_queued` wait already.
  void push(Message message, size_t most_queued = SIZE_MAX) {
    const std::lock_guard lock(guard_);
    if (over_ || queue_.size() > most_queued) return;
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) this->StartWrite(&queue_.front());
  }
  void end(const grpc::Status& status) {
    const std::lock_guard lock(guard_);
    if (!std::exchange(over_, true)) this->Finish(status);
  }

  // gRPC hands the stream from thread to thread.
  void OnCancel() override {
    ARCA_TSAN_ACQUIRE(this);
    end(grpc::Status::CANCELLED);
  }
  void OnWriteDone(bool good) override {
    ARCA_TSAN_ACQUIRE(this);
    const std::lock_guard lock(guard_);
    queue_.pop_front();
    if (over_) return;
    if (!good) {
      over_ = true;
      this->Finish(grpc::Status::CANCELLED);
    } else if (!queue_.empty()) {
      this->StartWrite(&queue_.front());
    }
  }
  void OnDone() override {
    ARCA_TSAN_ACQUIRE(this);
    { const std::lock_guard lock(guard_); }  // who called Finish may still be leaving
    done_(this);
  }

 private:
  std::function<void(push_stream*)> done_;
  std::mutex guard_;
  std::deque<Message> queue_;
  bool over_ = false;
};

}  // namespace arca::guest
