// Measurements of the agent: run by hand, `guest_integration "[bench]"`; the figures go to docs/performance.md.
#include <sys/wait.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <thread>

#include "guest/testing/machine_fixture.hpp"

using namespace arca;
using namespace arca::guest::testing;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

namespace {
double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}
}  // namespace

TEST_CASE("bench: create to exit", "[.][bench]") {
  const auto launcher = GENERATE(as<std::string>(), "crun", "native");
  machine_fixture m(true, launcher);
  const auto pause = GENERATE(0ms, 150ms);
  std::vector<double> started, exited;
  for (int i = 0; i < 40; ++i) {
    m.id = "c" + std::to_string(i);
    const auto request = m.create_request(m.spec({"true"}));
    const auto start = steady::now();
    REQUIRE(m.create(request).ok());
    started.push_back(milliseconds_since(start));
    m.wait();
    exited.push_back(milliseconds_since(start));
    m.acknowledge();
    std::this_thread::sleep_for(pause);
  }
  std::printf("%s: create, %lld ms apart: started %.2f ms, exit known %.2f ms (median of 40)\n", launcher.c_str(),
              static_cast<long long>(pause.count()), median(started), median(exited));
}

TEST_CASE("bench: exec", "[.][bench]") {
  const auto launcher = GENERATE(as<std::string>(), "crun", "native");
  machine_fixture m(true, launcher);
  // With a pause the first migration between cgroups waits for a grace period of RCU; in a row they share it.
  const auto pause = GENERATE(0ms, 150ms);
  REQUIRE(m.create({"sleep", "1000"}).ok());
  std::vector<double> started, ended;
  for (int i = 0; i < 100; ++i) {
    const std::string id = "e" + std::to_string(i);
    const auto request = m.exec_request(id, {"true"});
    const auto start = steady::now();
    REQUIRE(m.exec(request).ok());
    started.push_back(milliseconds_since(start));
    m.wait(id);
    ended.push_back(milliseconds_since(start));
    m.acknowledge(id);
    std::this_thread::sleep_for(pause);
  }
  std::printf("%s: exec, %lld ms apart: started %.2f ms, exit known %.2f ms (median of 100)\n", launcher.c_str(),
              static_cast<long long>(pause.count()), median(started), median(ended));
}

TEST_CASE("bench: stdout", "[.][bench]") {
  machine_fixture m;
  for (const char* block : {"64k", "16k", "4k"}) {
    m.id = std::string("c") + block;
    const uint64_t total = 4ull << 30;
    const uint64_t size = std::string(block) == "64k" ? 65536 : std::string(block) == "16k" ? 16384 : 4096;
    REQUIRE(m.create({"sh", "-c",
                      "read a </data/go 2>/dev/null; sleep 0.2; exec dd if=/dev/zero bs=" + std::string(block) +
                          " count=" + std::to_string(total / size) + " 2>/dev/null"})
                .ok());
    auto io = m.open_stdio();
    io->keep_output = false;
    io->read_until([&] { return io->bytes > 0; });
    const auto start = steady::now();
    io->read_until([&] { return io->ended; });
    const double ms = milliseconds_since(start);
    std::printf("stdout, writes of %s: %.2f GB/s\n", block, static_cast<double>(total) / ms / 1e6);
    m.wait();
    m.acknowledge();
  }
}

TEST_CASE("bench: memory and idle CPU", "[.][bench]") {
  {
    machine_fixture idle(false);
    std::printf("pool agent after Hello: Pss %ld kB, anonymous %ld kB, rss %ld kB\n", memory_of(idle.agent, "Pss"),
                memory_of(idle.agent, "Anonymous"), memory_of(idle.agent, "Rss"));
  }
  std::vector<std::unique_ptr<machine_fixture>> all;
  std::vector<std::unique_ptr<stdio_client>> streams;
  for (int i = 0; i < 20; ++i) {
    all.push_back(std::make_unique<machine_fixture>());
    REQUIRE(all.back()->create({"sleep", "1000"}).ok());
    streams.push_back(all.back()->open_stdio());
  }
  std::this_thread::sleep_for(3s);
  long pss = 0, dirty = 0, before = 0, after = 0;
  for (const auto& each : all) {
    pss += memory_of(each->agent, "Pss");
    dirty += memory_of(each->agent, "Anonymous");
    before += cpu_nanos(each->agent);
  }
  std::this_thread::sleep_for(10s);
  for (const auto& each : all) after += cpu_nanos(each->agent);
  std::printf("20 agents with an idle container: Pss %ld kB, anonymous %ld kB each; CPU of all %.3f %% over 10 s\n",
              pss / 20, dirty / 20, static_cast<double>(after - before) / 1e8);
}
