#include "actors/events/event_bus.hpp"

#include <caf/actor_system.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <deque>
#include <nlohmann/json.hpp>

#include "actors/events/event_filter.hpp"
#include "actors/streams/byte_channel.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {

constexpr size_t history_limit = 256;      // what Docker keeps for `since`
constexpr size_t reader_limit = 4u << 20;  // a reader that lags this far behind is dropped, nobody waits for it

}  // namespace

/// The `until` of a subscriber has come.
struct wait_until_done {
  uint64_t subscriber = 0;
  ARCA_MESSAGE(wait_until_done, subscriber)
};
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_events_internal, caf::first_custom_type_id + 240)
CAF_ADD_TYPE_ID(arca_events_internal, (arca::wait_until_done))
CAF_END_TYPE_ID_BLOCK(arca_events_internal)

namespace arca {
namespace {
using event_bus_internal = event_bus_actor::extend<caf::reacts_to<wait_until_done>>;

class event_bus : public tracked<event_bus_internal::base> {
 public:
  event_bus(caf::actor_config& config, engine_context& ctx)
      : tracked(config, *ctx.actors, "/events", "event_bus"), ctx_(ctx) {}

  behavior_type make_behavior() override {
    return {
        [this](const publish_event& e) { publish(e); },
        [this](const subscribe_events& s) { return subscribe(s); },
        [this](const wait_until_done& w) { end(w.subscriber); },
    };
  }

  void on_exit() override {
    for (auto& [id, s] : subscribers_) s.out->close();
    subscribers_.clear();
  }

 private:
  struct subscriber {
    event_filter filter;
    int64_t until = 0;
    std::shared_ptr<byte_channel> out;
  };

  void publish(publish_event e) {
    if (e.time_nano == 0) e.time_nano = now_nanos();
    // Times of events are unique and rising, so that `since` with the last one seen misses and repeats nothing.
    if (e.time_nano <= last_time_) e.time_nano = last_time_ + 1;
    last_time_ = e.time_nano;
    const auto line = std::make_shared<const std::string>(event_line(e));
    std::vector<uint64_t> gone;
    for (auto& [id, s] : subscribers_) {
      if (s.out->aborted()) {
        gone.push_back(id);
        continue;
      }
      if (!s.filter.matches(e)) continue;
      s.out->push(line);
      if (s.out->queued() > reader_limit) {
        s.out->close(error(errc::unavailable, "the events reader is too slow"));
        gone.push_back(id);
      }
    }
    for (const auto id : gone) subscribers_.erase(id);
    history_.push_back(std::move(e));
    if (history_.size() > history_limit) history_.pop_front();
  }

  caf::result<stream_id> subscribe(const subscribe_events& request) {
    std::erase_if(subscribers_, [](const auto& item) { return item.second.out->aborted(); });
    auto filter = event_filter::parse(request.filters);
    if (!filter) return to_caf(filter.error());
    auto out = std::make_shared<byte_channel>();
    if (request.since != 0 || request.until != 0) {
      for (const auto& e : history_) {
        const bool in_time = (request.since == 0 || e.time_nano >= request.since) &&
                             (request.until == 0 || e.time_nano <= request.until);
        if (request.since != 0 && in_time && filter->matches(e)) out->push(event_line(e));
      }
    }
    stream s;
    s.output = out;
    const auto now = now_nanos();
    if (request.until != 0 && request.until <= now) {
      out->close();
    } else {
      const auto id = ++last_subscriber_;
      subscribers_[id] = {std::move(*filter), request.until, out};
      if (request.until != 0) {
        wait_until_done w;
        w.subscriber = id;
        delayed_send(this, std::chrono::nanoseconds(request.until - now), std::move(w));
      }
    }
    return ctx_.streams->put(std::move(s));
  }

  void end(uint64_t id) {
    if (const auto found = subscribers_.find(id); found != subscribers_.end()) {
      found->second.out->close();
      subscribers_.erase(found);
    }
  }

  engine_context& ctx_;
  std::deque<publish_event> history_;
  std::map<uint64_t, subscriber> subscribers_;
  uint64_t last_subscriber_ = 0;
  int64_t last_time_ = 0;
};
}  // namespace

event_bus_actor spawn_event_bus(caf::actor_system& system, engine_context& ctx) {
  return system.spawn<event_bus>(ctx);
}

}  // namespace arca
