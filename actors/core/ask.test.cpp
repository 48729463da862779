// ask() from coroutines and threads: answers, errors, deadlines, cancelling, dead actors, the io thread as executor.
#include "actors/core/ask.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "actors/core/introspection.hpp"
#include "actors/protocol/volume.hpp"

using namespace arca;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

// Answers inspect_volume by the name in it: text, an error, never, or which thread it ran on.
using echo_actor =
    caf::typed_actor<caf::replies_to<inspect_volume>::with<json_document>, caf::replies_to<remove_volume>::with<void>>;

class echo : public tracked<echo_actor::base> {
 public:
  echo(caf::actor_config& config, introspection& table) : tracked(config, table, "/echo", "echo") {}
  behavior_type make_behavior() override {
    return {
        [this](const inspect_volume& m) -> caf::result<json_document> {
          json_document d;
          if (m.name == "error") return caf_error(errc::conflict, "in use");
          if (m.name == "never") return never_.emplace_back(make_response_promise<json_document>());
          d.text =
              m.name == "thread" ? std::to_string(std::hash<std::thread::id>{}(std::this_thread::get_id())) : m.name;
          return d;
        },
        [](const remove_volume&) -> caf::result<void> { return caf::unit; },
    };
  }
  // A promise holds its actor: kept ones would keep each other alive.
  void on_exit() override { never_.clear(); }

 private:
  std::vector<caf::typed_response_promise<json_document>> never_;
};

struct fixture {
  fixture() {
    config.set("scheduler.policy", caf::atom("sharing"));
    config.set("scheduler.max-threads", size_t{2});
    system.emplace(config);
    port.emplace(*system, io);
    actor = system->spawn<echo>(actors);
  }
  ~fixture() {
    port.reset();
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    actor = nullptr;
  }
  // Runs a coroutine to its end on this thread.
  void run(const std::function<asio::awaitable<void>()>& work) {
    asio::co_spawn(io, work(), [](const std::exception_ptr& e) {
      if (e) std::rethrow_exception(e);
    });
    io.restart();
    io.run();
  }
  static inspect_volume named(std::string name) {
    inspect_volume m;
    m.name = std::move(name);
    return m;
  }
  introspection actors;
  caf::actor_system_config config;
  asio::io_context io{1};
  std::optional<caf::actor_system> system;
  std::optional<ask_port> port;
  echo_actor actor;
};

}  // namespace

TEST_CASE_METHOD(fixture, "answers and errors come back") {
  run([&]() -> asio::awaitable<void> {
    for (int i = 0; i < 100; ++i) {
      const auto answer = co_await ask(*port, actor, {}, named(std::to_string(i)));
      REQUIRE(answer);
      CHECK(answer->text == std::to_string(i));
    }
    const auto refused = co_await ask(*port, actor, {.deadline = 5s}, named("error"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == errc::conflict);
    CHECK(refused.error().message() == "in use");
    const auto nothing = co_await ask(*port, actor, {}, remove_volume{});
    CHECK(nothing);
    CHECK(port->open() == 0);
  });
}

TEST_CASE("errors keep code and text; one without a cause is an error all the same") {
  const auto back = from_caf(caf_error(errc::conflict, "in use"));
  CHECK(back.code() == errc::conflict);
  CHECK(back.message() == "in use");
  CHECK(from_caf(caf::error()).code() == errc::internal);
  CHECK(from_caf(caf_error(errc::none, "")).code() == errc::internal);
}

TEST_CASE_METHOD(fixture, "many asks at once, answered each by its own") {
  int good = 0;
  for (int i = 0; i < 500; ++i)
    asio::co_spawn(
        io,
        [](fixture& f, int n, int& count) -> asio::awaitable<void> {
          const auto answer = co_await ask(*f.port, f.actor, {.deadline = 10s}, named(std::to_string(n)));
          count += answer && answer->text == std::to_string(n) ? 1 : 0;
        }(*this, i, good),
        asio::detached);
  while (good < 500 && io.run_one_for(5s) > 0) continue;
  CHECK(good == 500);
}

TEST_CASE_METHOD(fixture, "deadlines, the nearest first") {
  run([&]() -> asio::awaitable<void> {
    const auto began = std::chrono::steady_clock::now();
    const auto late = co_await ask(*port, actor, {.deadline = 50ms}, named("never"));
    REQUIRE_FALSE(late);
    CHECK(late.error().code() == errc::timeout);
    CHECK(std::chrono::steady_clock::now() - began >= 50ms);
    CHECK(port->open() == 0);
  });
}

TEST_CASE_METHOD(fixture, "an open ask can be given up") {
  run([&]() -> asio::awaitable<void> {
    ask_canceller canceller;
    asio::steady_timer later(io, 20ms);
    later.async_wait([&](auto) { canceller.cancel(); });
    const auto answer = co_await ask(*port, actor, {.canceller = &canceller}, named("never"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code() == errc::cancelled);
    canceller.cancel();  // too late: nothing happens
  });
}

TEST_CASE_METHOD(fixture, "actors that are not there") {
  run([&]() -> asio::awaitable<void> {
    const auto none = co_await ask(*port, echo_actor(), {}, named("x"));
    CHECK(none.error().code() == errc::unavailable);
    const auto dying = system->spawn<echo>(actors);
    caf::anon_send_exit(dying, caf::exit_reason::user_shutdown);
    const auto dead = co_await ask(*port, dying, {.deadline = 5s}, named("x"));
    CHECK(dead.error().code() == errc::unavailable);
  });
}

TEST_CASE_METHOD(fixture, "a handler runs on the io thread when that is asked for") {
  run([&]() -> asio::awaitable<void> {
    co_await ask(*port, actor, {}, named("warm up"));
    const auto mine = std::to_string(std::hash<std::thread::id>{}(std::this_thread::get_id()));
    std::string where;
    for (int i = 0; i < 500 && where != mine; ++i) {
      std::this_thread::sleep_for(10ms);  // a busy actor stays where it is
      const auto here = co_await ask(*port, actor, {.on_this_thread = true}, named("thread"));
      REQUIRE(here);
      where = here->text;
    }
    CHECK(where == mine);
    const auto there = co_await ask(*port, actor, {}, named("thread"));
    REQUIRE(there);
    CHECK(there->text != mine);
  });
}

TEST_CASE_METHOD(fixture, "an ask that is open when its port ends is dropped, and its late answer too") {
  bool resumed = false;
  asio::co_spawn(
      io,
      [](fixture& f, bool& done) -> asio::awaitable<void> {
        co_await ask(*f.port, f.actor, {}, named("never"));
        done = true;
      }(*this, resumed),
      asio::detached);
  io.run_for(20ms);
  CHECK(port->open() == 1);
  port.reset();
  CHECK_FALSE(resumed);
}

TEST_CASE_METHOD(fixture, "threads ask and wait") {
  CHECK(ask_sync(*system, actor, 5s, named("x"))->text == "x");
  CHECK(ask_sync(*system, actor, 20ms, named("never")).error().code() == errc::timeout);
  CHECK(ask_sync(*system, actor, 5s, named("error")).error().message() == "in use");
  CHECK(ask_sync(*system, echo_actor(), 5s, named("x")).error().code() == errc::unavailable);
}
