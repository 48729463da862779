#include "actors/core/async_port.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_config.hpp>
#include <caf/actor_system.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/make_actor.hpp>
#include <caf/monitorable_actor.hpp>
#include <caf/no_stages.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace arca {
namespace {
// Never scheduled: enqueue() is its mailbox and runs on the requester's thread.
class port_actor : public caf::monitorable_actor {
 public:
  explicit port_actor(caf::actor_config& config) : caf::monitorable_actor(config) {}
  using caf::abstract_actor::enqueue;
  const char* name() const override { return "async-port"; }

  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override {
    auto& content = element->content();
    if (!element->mid.is_request() || !content.match_elements<async_request>()) return;
    auto start = content.get_as<async_request>(0).start;
    auto self = caf::strong_actor_ptr{ctrl()};
    auto requester = element->sender;
    const auto response = element->mid.response_id();
    (*start)([self, requester, response] {
      if (requester == nullptr) return;
      caf::actor_cast<caf::abstract_actor*>(requester)->enqueue(
          caf::make_mailbox_element(self, response, caf::no_stages, async_done{}), nullptr);
    });
  }
};
}  // namespace

async_port::async_port(caf::actor_system& system) {
  caf::actor_config config;
  handle_ = caf::make_actor<port_actor, caf::actor>(system.next_actor_id(), system.node(), &system, config);
}

struct blocking_pool::state {
  explicit state(size_t max) : limit(max) {}
  mutable std::mutex lock;
  std::condition_variable wake, ended;
  std::deque<std::function<void()>> queue;
  size_t limit, running = 0, idle = 0;
  bool closing = false;

  void run() {
    std::unique_lock guard(lock);
    for (;;) {
      ++idle;
      const bool woken = wake.wait_for(guard, std::chrono::seconds(10), [this] { return closing || !queue.empty(); });
      --idle;
      if (closing || (!woken && queue.empty())) break;
      auto work = std::move(queue.front());
      queue.pop_front();
      guard.unlock();
      work();
      work = nullptr;
      guard.lock();
    }
    --running;
    ended.notify_all();
  }
};

blocking_pool::blocking_pool(size_t limit) : state_(std::make_shared<state>(limit)) {}

blocking_pool::~blocking_pool() {
  std::unique_lock guard(state_->lock);
  state_->closing = true;
  state_->queue.clear();
  state_->wake.notify_all();
  state_->ended.wait(guard, [this] { return state_->running == 0; });
}

void blocking_pool::post(std::function<void()> work) {
  const std::lock_guard guard(state_->lock);
  if (state_->closing) return;
  state_->queue.push_back(std::move(work));
  if (state_->idle < state_->queue.size() && state_->running < state_->limit) {
    ++state_->running;
    std::thread([s = state_] { s->run(); }).detach();
  }
  state_->wake.notify_one();
}

size_t blocking_pool::queued() const {
  const std::lock_guard guard(state_->lock);
  return state_->queue.size();
}
size_t blocking_pool::threads() const {
  const std::lock_guard guard(state_->lock);
  return state_->running;
}

}  // namespace arca
