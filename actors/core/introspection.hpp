// Every actor reports itself here, beside its mailbox, so that `arca top-actors` answers while all workers are stuck.
// One table per engine. An actor class derives from tracked<some_actor::base> and names its path in the tree.
#pragma once
#include <atomic>
#include <caf/mailbox_element.hpp>
#include <caf/scheduled_actor.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <typeinfo>
#include <vector>

#include "persistence/base/tsan.hpp"

namespace arca {

/// Written by the actor's own thread (but `enqueued`), read by anyone.
struct actor_stats {
  alignas(64) std::atomic<uint64_t> enqueued{0};
  alignas(64) std::atomic<uint64_t> handled{0};
  std::atomic<int64_t> busy_ns{0}, since_ns{0};  ///< since_ns: steady clock when the current message began, 0 when idle
  std::atomic<const std::type_info*> message{nullptr};
  std::string path, kind;
  std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
};

struct actor_row {
  std::string path, kind, state;  ///< state: idle, running, ready
  uint64_t mailbox = 0, handled = 0, restarts = 0;
  std::string message;    ///< type of the current or last message
  double running_ms = 0;  ///< how long the current message has been worked on
  double busy_ms = 0;
};

class introspection {
 public:
  void add(std::shared_ptr<actor_stats> stats);
  void remove(const actor_stats* stats);
  /// A supervisor has restarted the actor at `path`.
  void restarted(const std::string& path);
  std::vector<actor_row> snapshot() const;  ///< sorted by path
  /// Waits until every actor has ended: they refer to this table. False when some have not in time.
  bool await_empty(std::chrono::milliseconds patience) const;

 private:
  mutable std::mutex lock_;
  mutable std::condition_variable emptied_;
  std::map<const actor_stats*, std::shared_ptr<actor_stats>> table_;
  std::map<std::string, uint64_t> restarts_;
};

int64_t steady_ns();
/// Notes the type of the first element of a message.
void note_message(actor_stats& stats, const caf::type_erased_tuple& content);

/// It also tells TSan about the hand-over of messages and actors, which libcaf_core does out of its sight.
/// class x : public tracked<x_actor::base> { x(caf::actor_config& c, engine_context& ctx) : tracked(c, *ctx.actors,
/// "/images", "image_manager") … }
template <class Base>
class tracked : public Base {
 public:
  tracked(caf::actor_config& config, introspection& table, std::string path, std::string kind)
      : Base(config), table_(table), stats_(std::make_shared<actor_stats>()) {
    stats_->path = std::move(path);
    stats_->kind = std::move(kind);
  }
  const char* name() const override { return stats_->kind.c_str(); }
  const std::string& path() const { return stats_->path; }

  using Base::enqueue;
  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit* unit) override {
    stats_->enqueued.fetch_add(1, std::memory_order_relaxed);
    ARCA_TSAN_RELEASE(element.get());
    ARCA_TSAN_RELEASE(&stats_);  // for on_destroy alone: a sender orders nothing else
    Base::enqueue(std::move(element), unit);
  }
  void launch(caf::execution_unit* unit, bool lazy, bool hide) override {
    table_.add(stats_);
    ARCA_TSAN_RELEASE(this);
    Base::launch(unit, lazy, hide);
  }
  using Base::consume;
  caf::invoke_message_result consume(caf::mailbox_element& element) override {
    ARCA_TSAN_ACQUIRE(&element);
    ARCA_TSAN_ACQUIRE(this);
    auto keep = stats_;
    note_message(*keep, element.content());
    const auto begin = steady_ns();
    keep->since_ns.store(begin, std::memory_order_relaxed);
    struct finish {  // handlers may throw
      actor_stats& stats;
      int64_t begin;
      caf::invoke_message_result outcome = caf::invoke_message_result::consumed;
      ~finish() {
        stats.busy_ns.store(stats.busy_ns.load(std::memory_order_relaxed) + steady_ns() - begin,
                            std::memory_order_relaxed);
        if (outcome != caf::invoke_message_result::skipped)
          stats.handled.store(stats.handled.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        stats.since_ns.store(0, std::memory_order_relaxed);
      }
    } done{*keep, begin};
    done.outcome = Base::consume(element);
    ARCA_TSAN_RELEASE(this);
    return done.outcome;
  }
  void initialize() override {
    ARCA_TSAN_ACQUIRE(this);
    Base::initialize();
    ARCA_TSAN_RELEASE(this);
  }
  bool cleanup(caf::error&& reason, caf::execution_unit* unit) override {
    table_.remove(stats_.get());
    const bool first = Base::cleanup(std::move(reason), unit);
    ARCA_TSAN_RELEASE(this);
    return first;
  }
  void on_destroy() override {  // on the thread that drops the last reference
    ARCA_TSAN_ACQUIRE(this);
    ARCA_TSAN_ACQUIRE(&stats_);
    Base::on_destroy();
  }

 private:
  introspection& table_;
  std::shared_ptr<actor_stats> stats_;
};

}  // namespace arca
