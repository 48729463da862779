#include "guest/event_stream.hpp"

#include <utility>

namespace arca::guest {
namespace {
constexpr size_t most_queued_oom_events = 256;
}  // namespace

void fill(arca::agent::v1::Exit& into, const exit_record& r) {
  into.set_code(r.code);
  into.set_at(r.at);
  into.set_oom_killed(r.oom_killed);
  into.set_last_sequence(r.last_sequence);
}

void event_stream::push(const event& what) {
  const std::lock_guard lock(guard_);
  if (over_ || (!what.exit && queue_.size() > most_queued_oom_events)) return;
  arca::agent::v1::Event& e = queue_.emplace_back();
  e.set_container_id(what.container);
  e.set_process_id(what.process);
  if (what.exit) {
    fill(*e.mutable_exit(), *what.exit);
  } else {
    e.mutable_oom();
  }
  if (queue_.size() == 1) StartWrite(&queue_.front());
}

void event_stream::end(const grpc::Status& status) {
  const std::lock_guard lock(guard_);
  if (!std::exchange(over_, true)) Finish(status);
}

// gRPC hands the stream from thread to thread.
void event_stream::OnCancel() {
  ARCA_TSAN_ACQUIRE(this);
  end(grpc::Status::CANCELLED);
}

void event_stream::OnWriteDone(bool good) {
  ARCA_TSAN_ACQUIRE(this);
  const std::lock_guard lock(guard_);
  queue_.pop_front();
  if (over_) return;
  if (!good) {
    over_ = true;
    Finish(grpc::Status::CANCELLED);
  } else if (!queue_.empty()) {
    StartWrite(&queue_.front());
  }
}

void event_stream::OnDone() {
  ARCA_TSAN_ACQUIRE(this);
  { const std::lock_guard lock(guard_); }  // who called Finish may still be leaving
  done_(this);
}

}  // namespace arca::guest
