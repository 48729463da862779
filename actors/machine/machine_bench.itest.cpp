// How quick machines are, and how quiet when idle: machine_itest "[bench]".
#include "actors/machine/testing/small_daemon.hpp"

using namespace arca;
using namespace arca::testing;

TEST_CASE("cycles per second", "[bench]") {
  vm::testing::lab in;
  small_daemon d(in);
  sweep_machines sweep;
  REQUIRE(d.ask<void>(d.ctx.machines, sweep));
  std::this_thread::sleep_for(500ms);
  REQUIRE(log::configure("debug", log::format::text));  // the stages of each
  std::vector<double> starts;
  for (int i = 0; i < 20; ++i) {
    plan p(in, {"true"});
    d.make_io(p.id, "init");
    auto box = d.make(p.id);
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(d.ask<machine_started>(box, p.launch()));
    starts.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    d.told->of("init");
    d.told->exits.clear();
    CHECK(d.ask<void>(box, ack(p.id, "init")));
    std::this_thread::sleep_for(100ms);
  }
  std::sort(starts.begin(), starts.end());
  WARN("launch to started: p50 " << starts[10] << " ms, min " << starts[0] << " ms");
}

TEST_CASE("16 at a time", "[bench]") {
  vm::testing::lab in;
  small_daemon d(in);
  sweep_machines sweep;
  REQUIRE(d.ask<void>(d.ctx.machines, sweep));
  std::this_thread::sleep_for(500ms);
  constexpr int clients = 16, rounds = 6;
  std::vector<std::vector<std::unique_ptr<plan>>> plans(clients);
  for (auto& mine : plans)
    for (int i = 0; i < rounds; ++i) mine.push_back(std::make_unique<plan>(in, std::vector<std::string>{"true"}));
  std::atomic<int> failed = 0;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (auto& mine : plans)
    threads.emplace_back([&d, &mine, &failed] {
      for (const auto& p : mine) {
        auto told = std::make_shared<reports>();
        make_machine order;
        order.container_id = p->id;
        order.observer = d.watch(told);
        d.make_io(p->id, "init");
        auto box = d.ask<machine_actor>(d.ctx.machines, order);
        if (!box || !d.ask<machine_started>(*box, p->launch())) {
          ++failed;
          continue;
        }
        std::unique_lock guard(told->lock);
        told->changed.wait_for(guard, 10s, [&] { return !told->exits.empty(); });
        if (told->exits.empty()) ++failed;
        guard.unlock();
        (void)d.ask<void>(*box, ack(p->id, "init"));
        caf::anon_send_exit(order.observer, caf::exit_reason::user_shutdown);
      }
    });
  for (auto& t : threads) t.join();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  CHECK(failed == 0);
  WARN(clients * rounds / seconds << " cycles/s");
}

TEST_CASE("an idle engine with ten idle containers does nothing", "[bench]") {
  vm::testing::lab in;
  small_daemon d(in);
  sweep_machines sweep;
  REQUIRE(d.ask<void>(d.ctx.machines, sweep));
  std::vector<std::pair<std::string, machine_actor>> boxes;
  for (int i = 0; i < 10; ++i) {
    plan p(in, {"sleep", "1000"});
    d.make_io(p.id, "init");
    boxes.emplace_back(p.id, d.make(p.id));
    REQUIRE(d.ask<machine_started>(boxes.back().second, p.launch()));
  }
  std::this_thread::sleep_for(15s);  // helper threads of the start end
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  std::this_thread::sleep_for(10s);
  getrusage(RUSAGE_SELF, &after);
  const auto us = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1'000'000 + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
  };
  WARN("10 s: " << us(after) - us(before) << " us of CPU, " << after.ru_nvcsw - before.ru_nvcsw << " switches");
  for (auto& [id, box] : boxes) {
    kill_machine k;
    k.container_id = id;
    CHECK(d.ask<void>(box, k));
    CHECK(d.ask<void>(box, ack(id, "init")));
    gone(in.cgroup_parent + "/" + id);
  }
}
