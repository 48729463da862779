#include "actors/core/ask.hpp"

#include <atomic>
#include <boost/asio/async_result.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <caf/actor_config.hpp>
#include <caf/actor_system.hpp>
#include <caf/execution_unit.hpp>
#include <caf/make_actor.hpp>
#include <caf/monitorable_actor.hpp>
#include <caf/resumable.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "actors/core/introspection.hpp"

namespace asio = boost::asio;
using steady = std::chrono::steady_clock;

namespace arca {
namespace {

// Runs the one actor that a request woke on the io thread. Whatever that actor wakes goes to CAF's own threads.
class io_unit final : public caf::execution_unit {
 public:
  io_unit(caf::actor_system& system, asio::io_context& io) : caf::execution_unit(&system), io_(io) {}

  // Called while a request is put into a mailbox.
  struct accepting {
    explicit accepting(io_unit& unit) : unit_(unit) { unit_.accepts_ = true; }
    ~accepting() { unit_.accepts_ = false; }
    io_unit& unit_;
  };

  void exec_later(caf::resumable* actor) override {
    constexpr size_t longest_queue = 64;  // a burst is shared with CAF's threads
    if (!accepts_ || queue_.size() >= longest_queue) {
      system().scheduler().enqueue(actor);
      return;
    }
    queue_.push_back(actor);
    if (queue_.size() == 1) asio::post(io_, [this] { run(); });
  }

 private:
  void run() {
    constexpr size_t messages_each = 8;  // then sockets get their turn
    for (size_t left = queue_.size(); left > 0; --left) {
      auto* actor = queue_.front();
      queue_.pop_front();
      switch (actor->resume(this, messages_each)) {
        case caf::resumable::resume_later:
          system().scheduler().enqueue(actor);
          break;
        case caf::resumable::done:
        case caf::resumable::awaiting_message:
          caf::intrusive_ptr_release(actor);
          break;
        case caf::resumable::shutdown_execution_unit:
          break;
      }
    }
  }

  asio::io_context& io_;
  bool accepts_ = false;
  std::deque<caf::resumable*> queue_;
};

struct pending {
  virtual ~pending() = default;
  virtual void complete(ask_port::outcome o) = 0;
  steady::time_point deadline{};
  ask_canceller* canceller = nullptr;
};

}  // namespace

// What belongs to one port; used on the io thread, but for push().
struct ask_port::state {
  state(caf::actor_system& system, asio::io_context& context) : io(context), unit(system, context), timer(context) {}

  void push(caf::mailbox_element_ptr element);  // any thread
  void drain();
  void arm_timer();
  void expire();
  std::unique_ptr<pending> take(uint64_t id);
  void finish_later(uint64_t id, errc why);

  asio::io_context& io;
  io_unit unit;
  asio::steady_timer timer;
  steady::time_point timer_at = steady::time_point::max();
  caf::strong_actor_ptr self;
  uint64_t last_id = 0;
  std::unordered_map<uint64_t, std::unique_ptr<pending>> open;
  std::multimap<steady::time_point, uint64_t> deadlines;
  std::atomic<caf::mailbox_element*> inbox{nullptr};  // a stack: the last answer first
};

namespace {
class port_actor final : public caf::monitorable_actor {
 public:
  port_actor(caf::actor_config& config, ask_port::state* port) : caf::monitorable_actor(config), port_(port) {}
  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override {
    {
      const std::shared_lock guard(lock_);  // held by responders; exclusive only when the port ends
      if (port_ != nullptr && element->mid.is_response()) port_->push(std::move(element));
    }
    ARCA_TSAN_RELEASE(this);
  }
  const char* name() const override { return "ask-port"; }
  void on_destroy() override {
    ARCA_TSAN_ACQUIRE(this);
    caf::monitorable_actor::on_destroy();
  }
  void close() {
    {
      const std::unique_lock guard(lock_);
      port_ = nullptr;
    }
    ARCA_TSAN_RELEASE(this);
  }

 private:
  std::shared_mutex lock_;
  ask_port::state* port_;
};

caf::mailbox_element* next_of(caf::mailbox_element* e) {
  return static_cast<caf::mailbox_element*>(e->next);
}
}  // namespace

void ask_port::state::push(caf::mailbox_element_ptr element) {
  auto* raw = element.release();
  auto* head = inbox.load(std::memory_order_relaxed);
  do {
    raw->next = head;
  } while (!inbox.compare_exchange_weak(head, raw, std::memory_order_release, std::memory_order_relaxed));
  if (head == nullptr) asio::post(io, [this] { drain(); });  // one wake-up for all that come until it runs
}

void ask_port::state::drain() {
  auto* newest = inbox.exchange(nullptr, std::memory_order_acquire);
  caf::mailbox_element* oldest = nullptr;
  while (newest != nullptr) {
    auto* next = next_of(newest);
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    caf::mailbox_element_ptr answer(oldest);
    oldest = next_of(oldest);
    auto waiting = take(answer->mid.request_id().integer_value());
    if (waiting == nullptr) continue;  // given up earlier
    outcome o;
    o.reply = std::move(answer);
    waiting->complete(std::move(o));
  }
}

std::unique_ptr<pending> ask_port::state::take(uint64_t id) {
  const auto found = open.find(id);
  if (found == open.end()) return nullptr;
  auto waiting = std::move(found->second);
  open.erase(found);
  if (waiting->deadline != steady::time_point{}) {
    auto [at, end] = deadlines.equal_range(waiting->deadline);
    while (at != end && at->second != id) ++at;
    if (at != end) deadlines.erase(at);
  }
  if (waiting->canceller != nullptr) waiting->canceller->port_ = nullptr;
  return waiting;
}

void ask_port::state::arm_timer() {
  if (deadlines.empty() || deadlines.begin()->first >= timer_at) return;
  timer_at = deadlines.begin()->first;
  timer.expires_at(timer_at);
  timer.async_wait([this](boost::system::error_code ec) {
    if (!ec) expire();
  });
}

void ask_port::state::expire() {
  timer_at = steady::time_point::max();
  const auto now = steady::now();
  while (!deadlines.empty() && deadlines.begin()->first <= now) {
    if (auto waiting = take(deadlines.begin()->second)) waiting->complete({nullptr, errc::timeout});
  }
  arm_timer();
}

void ask_port::state::finish_later(uint64_t id, errc why) {
  asio::post(io, [this, id, why] {
    if (auto waiting = take(id)) waiting->complete({nullptr, why});
  });
}

ask_port::ask_port(caf::actor_system& system, asio::io_context& io) : state_(std::make_unique<state>(system, io)) {
  caf::actor_config config;
  state_->self = caf::make_actor<port_actor, caf::strong_actor_ptr>(system.next_actor_id(), system.node(), &system,
                                                                    config, state_.get());
}

ask_port::~ask_port() {
  static_cast<port_actor*>(caf::actor_cast<caf::abstract_actor*>(state_->self))->close();
  for (auto* element = state_->inbox.exchange(nullptr); element != nullptr;) {
    const caf::mailbox_element_ptr owner(element);
    element = next_of(element);
  }
}

uint64_t ask_port::next_id() {
  return ++state_->last_id;
}
const caf::strong_actor_ptr& ask_port::self() const {
  return state_->self;
}
size_t ask_port::open() const {
  return state_->open.size();
}

asio::awaitable<ask_port::outcome> ask_port::send(caf::strong_actor_ptr to, caf::mailbox_element_ptr request,
                                                  ask_options options) {
  auto* s = state_.get();
  return asio::async_initiate<const asio::use_awaitable_t<>, void(outcome)>(
      [s, this, options]<class Handler>(Handler&& handler, caf::strong_actor_ptr target,
                                        caf::mailbox_element_ptr element) {
        struct operation final : pending {
          explicit operation(std::decay_t<Handler> h) : handler(std::move(h)) {}
          void complete(outcome o) override {
            auto resume = std::move(handler);  // its coroutine may end this ask's owner
            std::move(resume)(std::move(o));
          }
          std::decay_t<Handler> handler;
        };
        const auto id = element->mid.request_id().integer_value();  // without the priority bits, as in the answer
        auto waiting = std::make_unique<operation>(std::forward<Handler>(handler));
        if (options.deadline.count() > 0) {
          waiting->deadline = steady::now() + options.deadline;
          s->deadlines.emplace(waiting->deadline, id);
          s->arm_timer();
        }
        if (options.canceller != nullptr) {
          options.canceller->port_ = this;
          options.canceller->id_ = id;
          waiting->canceller = options.canceller;
        }
        s->open.emplace(id, std::move(waiting));
        if (target == nullptr) {
          s->finish_later(id, errc::unavailable);
        } else if (options.on_this_thread) {
          const io_unit::accepting scope(s->unit);
          target->enqueue(std::move(element), &s->unit);
        } else {
          target->enqueue(std::move(element), nullptr);
        }
      },
      asio::use_awaitable, std::move(to), std::move(request));
}

void ask_canceller::cancel() {
  if (port_ != nullptr) port_->state_->finish_later(id_, errc::cancelled);
}

namespace detail {

error unexpected_answer() {
  return {errc::internal, "the engine answered with a message of another type"};
}

std::optional<error> ask_failure(ask_port::outcome& o) {
  if (o.reply == nullptr) {
    switch (o.failure) {
      case errc::timeout:
        return error{errc::timeout, "the engine did not answer in time"};
      case errc::unavailable:
        return error{errc::unavailable, "this part of the engine is not running"};
      default:
        return error{errc::cancelled, "the request was cancelled"};
    }
  }
  auto& content = o.reply->content();
  if (content.match_elements<caf::error>()) return from_caf(content.get_as<caf::error>(0));
  return std::nullopt;
}

ask_port::outcome ask_sync_raw(caf::actor_system& system, const caf::strong_actor_ptr& to,
                               std::chrono::milliseconds deadline,
                               const std::function<caf::mailbox_element_ptr(caf::strong_actor_ptr)>& make) {
  struct sink final : caf::monitorable_actor {
    explicit sink(caf::actor_config& config) : caf::monitorable_actor(config) {}
    using caf::abstract_actor::enqueue;
    void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override {
      if (!element->mid.is_response()) return;
      {
        const std::lock_guard guard(lock);
        answer = std::move(element);
        arrived.notify_one();
      }
      ARCA_TSAN_RELEASE(this);
    }
    void on_destroy() override {
      ARCA_TSAN_ACQUIRE(this);
      caf::monitorable_actor::on_destroy();
    }
    const char* name() const override { return "ask-sync"; }
    std::mutex lock;
    std::condition_variable arrived;
    caf::mailbox_element_ptr answer;
  };
  ask_port::outcome o;
  if (to == nullptr) {
    o.failure = errc::unavailable;
    return o;
  }
  caf::actor_config config;
  auto handle = caf::make_actor<sink, caf::strong_actor_ptr>(system.next_actor_id(), system.node(), &system, config);
  auto* self = static_cast<sink*>(caf::actor_cast<caf::abstract_actor*>(handle));
  to->enqueue(make(handle), nullptr);
  {
    std::unique_lock guard(self->lock);
    self->arrived.wait_for(guard, deadline, [self] { return self->answer != nullptr; });
    o.reply = std::move(self->answer);
  }
  ARCA_TSAN_RELEASE(self);
  if (o.reply == nullptr) o.failure = errc::timeout;
  return o;
}

}  // namespace detail
}  // namespace arca
