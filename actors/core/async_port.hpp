// How an actor waits for something that is not an actor – a blocking call on the pool, a gRPC callback – without
// blocking and without foreign threads touching its state: it sends a request to the async_port, a passive actor that
// starts the work and answers the request when the work calls back.
//
//   offload(this, ctx.pool, [=] { return make_overlay(spec); }, [this](result<fd> r) { … on this actor again … });
//   await_callback<reply>(this, ctx.port, [=](auto done) { client.hello(request, done); }, [this](reply r) { … });
//
// The continuation is dropped when the actor has ended. Never pass `this` into `work` or `start`.
#pragma once
#include <caf/actor.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/fwd.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "actors/core/errors.hpp"

namespace arca {

/// What the port starts; it must call its argument exactly once, from any thread.
using async_start = std::function<void(std::function<void()>)>;
struct async_request {
  std::shared_ptr<async_start> start;
};
struct async_done {
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, async_done&) {
    return f(caf::meta::type_name("async_done"));
  }
};

class async_port {
 public:
  explicit async_port(caf::actor_system& system);
  const caf::actor& handle() const { return handle_; }

 private:
  caf::actor handle_;
};

/// Threads for blocking work (file trees, netlink, mounts, child processes). Grows to `limit`; idle threads end after
/// 10 s.
class blocking_pool {
 public:
  explicit blocking_pool(size_t limit);
  ~blocking_pool();  ///< waits for running work, drops what has not begun
  void post(std::function<void()> work);
  size_t queued() const;
  size_t threads() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

template <class T, class Self, class Start, class Then>
void await_callback(Self* self, const async_port& port, Start start, Then then) {
  auto slot = std::make_shared<std::optional<T>>();
  auto shared_then = std::make_shared<Then>(std::move(then));
  async_request request;
  request.start = std::make_shared<async_start>([slot, start = std::move(start)](std::function<void()> done) mutable {
    start([slot, done = std::move(done)](T value) {
      slot->emplace(std::move(value));
      done();
    });
  });
  self->request(port.handle(), caf::infinite, std::move(request))
      .then([slot, shared_then](const async_done&) { (*shared_then)(std::move(**slot)); },
            [](caf::error&) { /* the port answers every request; only the end of the system gets here */ });
}

/// `work` runs on the pool and returns a result<T> (or any value); `then` gets it on the actor.
template <class Self, class Work, class Then>
void offload(Self* self, const async_port& port, blocking_pool& pool, Work work, Then then) {
  using value = std::invoke_result_t<Work>;
  await_callback<value>(
      self, port,
      [&pool, work = std::make_shared<Work>(std::move(work))](std::function<void(value)> done) {
        pool.post([work, done = std::move(done)] { done((*work)()); });
      },
      std::move(then));
}

}  // namespace arca

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(arca::async_request)
CAF_BEGIN_TYPE_ID_BLOCK(arca_core, caf::first_custom_type_id + 200)
CAF_ADD_TYPE_ID(arca_core, (arca::async_done))
CAF_END_TYPE_ID_BLOCK(arca_core)
