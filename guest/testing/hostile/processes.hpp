// What the hostile agent says it runs: names, ends, and the events that tell of them.
#pragma once
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "guest/proto/agent.grpc.pb.h"

namespace arca::hostile {

int64_t now_nanos();

class processes {
 public:
  /// Of the container that was created last; machines here have one.
  std::string container() const {
    const std::lock_guard guard(lock_);
    return container_;
  }
  void created(const std::string& container) {
    const std::lock_guard guard(lock_);
    container_ = container;
    ended_["init"] = false;
  }
  void started(const std::string& process) {
    const std::lock_guard guard(lock_);
    ended_[process] = false;
  }
  void end(const std::string& process, int code) {
    const std::lock_guard guard(lock_);
    if (std::exchange(ended_[process], true)) return;
    agent::v1::Event event;
    event.set_container_id(container_);
    event.set_process_id(process);
    event.mutable_exit()->set_code(code);
    event.mutable_exit()->set_at(now_nanos());
    event.mutable_exit()->set_last_sequence(1);
    events_.push_back(std::move(event));
    changed_.notify_all();
  }
  void wait_end(const std::string& process) {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [&] { return ended_[process]; });
  }
  /// The next event, at the latest after 50 ms; false: none.
  bool next(agent::v1::Event& into) {
    std::unique_lock guard(lock_);
    if (!changed_.wait_for(guard, std::chrono::milliseconds(50), [&] { return !events_.empty(); })) return false;
    into = std::move(events_.front());
    events_.pop_front();
    return true;
  }

 private:
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::string container_;
  std::map<std::string, bool> ended_;
  std::deque<agent::v1::Event> events_;
};

}  // namespace arca::hostile
