#include <chrono>
#include <map>
#include <thread>

#include "actors/streams/byte_channel.hpp"

namespace arca {

namespace {
using steady = std::chrono::steady_clock;
constexpr auto patience = std::chrono::seconds(60);

void drop(stream& s) {
  const error why(errc::timeout, "nobody opened the stream");
  if (s.output) s.output->abort();
  if (s.input) {
    s.input->close(why);
    s.input->abort();
  }
}
}  // namespace

/// Streams in the order of their ids, which is the order of their deadlines. The thread that drops forgotten ones lives
/// only while something waits, so an idle daemon has none.
struct stream_registry::state {
  struct entry {
    stream value;
    steady::time_point deadline;
  };
  mutable std::mutex lock;
  std::condition_variable changed;
  std::map<uint64_t, entry> waiting;
  uint64_t last = 0;
  bool stopping = false, sweeper_runs = false;
  std::thread sweeper;

  void sweep() {
    std::unique_lock guard(lock);
    while (!stopping && !waiting.empty()) {
      const auto deadline = waiting.begin()->second.deadline;
      if (steady::now() < deadline) {
        changed.wait_until(guard, deadline, [this] { return stopping; });
        continue;
      }
      auto forgotten = std::move(waiting.begin()->second.value);
      waiting.erase(waiting.begin());
      guard.unlock();
      drop(forgotten);
      guard.lock();
    }
    sweeper_runs = false;
  }
};

stream_registry::stream_registry() : state_(std::make_unique<state>()) {}

stream_registry::~stream_registry() {
  {
    const std::lock_guard guard(state_->lock);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  if (state_->sweeper.joinable()) state_->sweeper.join();
  for (auto& [id, e] : state_->waiting) drop(e.value);
}

uint64_t stream_registry::put(stream s) {
  const std::lock_guard guard(state_->lock);
  const auto id = ++state_->last;
  state_->waiting.emplace(id, state::entry{std::move(s), steady::now() + patience});
  if (!state_->sweeper_runs && !state_->stopping) {
    if (state_->sweeper.joinable()) state_->sweeper.join();  // it has left its loop: it only waits to be joined
    state_->sweeper_runs = true;
    state_->sweeper = std::thread([raw = state_.get()] { raw->sweep(); });
  }
  return id;
}

std::optional<stream> stream_registry::take(uint64_t id) {
  const std::lock_guard guard(state_->lock);
  auto node = state_->waiting.extract(id);
  if (!node) return std::nullopt;
  return std::move(node.mapped().value);
}

size_t stream_registry::waiting() const {
  const std::lock_guard guard(state_->lock);
  return state_->waiting.size();
}

}  // namespace arca
