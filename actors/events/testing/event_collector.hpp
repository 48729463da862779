// Stands in for the event bus in tests of single managers: keeps what is published.
#pragma once
#include <caf/typed_event_based_actor.hpp>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "actors/core/introspection.hpp"
#include "actors/protocol/event_bus.hpp"

namespace arca::testing {

struct collected_events {
  std::mutex lock;
  std::vector<publish_event> all;
  std::condition_variable arrived;
  /// "action id" of each, and forgets them. Waits for `count`, 20 s at most: an answer may overtake the events before
  /// it.
  std::vector<std::string> take(size_t count) {
    std::unique_lock guard(lock);
    arrived.wait_for(guard, std::chrono::seconds(20), [&] { return all.size() >= count; });
    std::vector<std::string> out;
    for (const auto& e : all) out.push_back(e.action + ' ' + e.actor_id);
    all.clear();
    return out;
  }
};

class event_collector : public tracked<event_bus_actor::base> {
 public:
  event_collector(caf::actor_config& config, introspection& table, std::shared_ptr<collected_events> into)
      : tracked(config, table, "/events", "event_collector"), into_(std::move(into)) {}
  behavior_type make_behavior() override {
    return {[this](const publish_event& e) {
              const std::lock_guard guard(into_->lock);
              into_->all.push_back(e);
              into_->arrived.notify_all();
            },
            [](const subscribe_events&) { return stream_id{0}; }};
  }

 private:
  std::shared_ptr<collected_events> into_;
};

}  // namespace arca::testing
