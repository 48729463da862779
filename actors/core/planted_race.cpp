// Races on purpose, in the shapes of the engine's own code: tests/tsan.supp must hide none of them. Built under
// ThreadSanitizer only; ctest wants the report of each shape, and none from `clean`.
//   planted_race pool|actors|io|clean
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <cstdio>
#include <string_view>
#include <thread>

#include "actors/core/ask.hpp"
#include "actors/core/async_port.hpp"
#include "actors/core/introspection.hpp"
#include "actors/core/promise.hpp"
#include "actors/protocol/volume.hpp"

using namespace arca;
namespace asio = boost::asio;

namespace {

struct meeting {
  alignas(64) int touched = 0;
  alignas(64) std::atomic<int> here{0}, gone{0};
};

// Two threads are in it at once, whatever the scheduler does, and the later one touches second, so that the report does
// not depend on luck. Relaxed: nothing happens before anything.
[[gnu::noinline]] void planted_touch(meeting& m) {
  const bool later = m.here.fetch_add(1, std::memory_order_relaxed) == 1;
  while (m.here.load(std::memory_order_relaxed) < 2) std::this_thread::yield();
  while (later && m.gone.load(std::memory_order_relaxed) == 0) std::this_thread::yield();
  ++m.touched;
  m.gone.fetch_add(1, std::memory_order_relaxed);
}

using culprit_actor = caf::typed_actor<caf::replies_to<remove_volume>::with<void>>;

// remove_volume: "pool" touches in the handler and on the pool, "meet" in the handler, "clean" first on the pool, then
// in the continuation.
class culprit : public tracked<culprit_actor::base> {
 public:
  culprit(caf::actor_config& config, introspection& table, async_port& port, blocking_pool& pool, meeting& m)
      : tracked(config, table, "/culprit", "culprit"), port_(port), pool_(pool), meeting_(m) {}

  behavior_type make_behavior() override {
    return {[this](const remove_volume& m) -> caf::result<void> {
      auto promise = make_response_promise<void>();
      if (m.name == "meet") {
        planted_touch(meeting_);
        deliver_ok(promise);
        return promise;
      }
      offload(
          this, port_, pool_,
          [shared = &meeting_, race = m.name == "pool"] {
            if (race)
              planted_touch(*shared);
            else
              ++shared->touched;
            return 0;
          },
          [this, promise](int) mutable {
            ++meeting_.touched;
            deliver_ok(promise);
          });
      if (m.name == "pool") planted_touch(meeting_);
      return promise;
    }};
  }

 private:
  async_port& port_;
  blocking_pool& pool_;
  meeting& meeting_;
};

remove_volume named(std::string_view name) {
  remove_volume m;
  m.name = name;
  return m;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view shape = argc == 2 ? argv[1] : "";
  meeting shared;
  introspection table;
  blocking_pool pool(2);
  asio::io_context io{1};
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("sharing"));
  config.set("scheduler.max-threads", size_t{2});
  caf::actor_system system(config);
  async_port port(system);
  {
    ask_port asks(system, io);
    const culprit_actor one = system.spawn<culprit>(table, port, pool, shared);
    const culprit_actor other = system.spawn<culprit>(table, port, pool, shared);
    auto tell = [&](const culprit_actor& whom, std::string_view what) {
      asio::co_spawn(
          io,
          [&asks, whom, what]() -> asio::awaitable<void> {
            const auto done = co_await ask(asks, whom, {}, named(what));
            if (!done) std::printf("not answered: %s\n", done.error().message().c_str());
          },
          asio::detached);
    };
    if (shape == "pool") {
      tell(one, "pool");
    } else if (shape == "actors") {
      tell(one, "meet");
      tell(other, "meet");
    } else if (shape == "io") {
      tell(one, "meet");
      asio::post(io, [&shared] { planted_touch(shared); });
    } else if (shape == "clean") {
      for (int i = 0; i < 500; ++i) {
        tell(one, "clean");
        io.run();
        io.restart();
        ++shared.touched;
      }
    } else {
      return 2;
    }
    io.run();
    caf::anon_send_exit(one, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(other, caf::exit_reason::user_shutdown);
  }
  table.await_empty(std::chrono::seconds(10));
  std::printf("touched %d times\n", shared.touched);
}
