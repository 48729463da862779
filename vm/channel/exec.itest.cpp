// An exec and its bytes in one call of a real machine's agent.
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <thread>

#include "vm/channel/test_machine.hpp"
#include "vm/channel/test_processes.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

TEST_CASE("an exec and its bytes in one call") {
  test_machine machine("");
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(2)));
  start_container(*agent, {"sleep", "1000"});
  const auto attached = [&](const agent_exec& what, const stdio::hello& greeting) {
    return wait_for<agent_attached>([&](auto done) { agent->exec(what, greeting, limit, done); });
  };
  const auto output = [&](const std::string& process, const std::vector<std::string>& argv) {
    auto got = attached(exec_of(process, argv), hello_of(process, 2));
    INFO(why(got));
    REQUIRE(got);
    CHECK(got->process.pid > 1);
    CHECK(got->process.started_at > 0);
    return read_output(got->stdio.get());
  };
  const auto processes = [&] { return hello(*agent, greeting(2))->processes.size(); };

  SECTION("long or short, and forgotten together") {
    CHECK(output("a", {"sh", "-c", ":"}).empty());
    CHECK(output("b", {"echo", "b"}) == "b\n");
    CHECK(output("c", {"seq", "1", "300000"}).size() == 1988895);
    CHECK(output("d", {"sh", "-c", "sleep 0.3; echo d"}) == "d\n");
    CHECK(processes() == 5);
    REQUIRE(wait_for<void>([&](auto done) { agent->acknowledge(container_id, {"a", "b", "c", "d"}, limit, done); }));
    CHECK(processes() == 1);
  }
  SECTION("its exit comes with its output, and what is not usual of a process comes through as well") {
    auto what = exec_of("a", {"sh", "-c", "umask; ulimit -n; exit 9"});
    auto process = nlohmann::json::parse(what.oci_process);
    process["user"]["umask"] = 077;
    process["rlimits"] = {{{"type", "RLIMIT_NOFILE"}, {"soft", 123}, {"hard", 456}}};
    what.oci_process = process.dump();
    auto got = attached(what, hello_of("a", 2));
    INFO(why(got));
    REQUIRE(got);
    stdio::frame end;
    CHECK(read_output(got->stdio.get(), SIZE_MAX, true, &end) == "0077\n123\n");
    CHECK(end.kind == stdio::frame_kind::end);
    CHECK(end.reserved == (stdio::exit_told | 9));
    CHECK(end.time >= got->process.started_at);
  }
  SECTION("calls that are made ahead: many one after the other and at once, and one whose machine has gone") {
    for (int round = 0; round < 3; ++round) {
      CHECK(output("a" + std::to_string(round), {"cat", "/proc/self/stat"}).find("(cat)") != std::string::npos);
      std::this_thread::sleep_for(50ms);  // the next call is open
      std::vector<std::thread> together;
      std::array<std::string, 6> texts;
      for (size_t i = 0; i < texts.size(); ++i) {
        const auto name = "b" + std::to_string(round) + std::to_string(i);
        together.emplace_back([&, i, what = exec_of(name, {"echo", name}), greeting = hello_of(name, 2)] {
          if (const auto got = attached(what, greeting)) texts[i] = read_output(got->stdio.get());
        });
      }
      for (auto& each : together) each.join();
      for (size_t i = 0; i < texts.size(); ++i)
        CHECK(texts[i] == "b" + std::to_string(round) + std::to_string(i) + '\n');
    }
    std::this_thread::sleep_for(50ms);
    machine.kill();
    const auto late = attached(exec_of("z", {"true"}), hello_of("z", 2));
    REQUIRE_FALSE(late);
    CHECK(late.error().code() == errc::unavailable);
    return;
  }
  SECTION("a slow reader gets what came before the agent ended the call, also when it can say nothing more") {
    for (const char* last : {"20000", "47000", "70000"}) {
      auto got = attached(exec_of(last, {"seq", "1", last}), hello_of(last, 2));
      REQUIRE(got);
      stdio::frame ack;
      ack.kind = stdio::frame_kind::ack;
      ack.sequence = 1;
      for (int i = 0; i < 3; ++i) {
        std::this_thread::sleep_for(300ms);
        (void)::send(got->stdio.get(), &ack, sizeof ack, MSG_NOSIGNAL);
      }
      const auto all = read_output(got->stdio.get());
      CHECK(all.substr(all.size() - 6) == last + std::string("\n"));
    }
  }
  SECTION("a request that is too long for one message goes in a call of its own") {
    auto what = exec_of("e", {"sh", "-c", "echo ${#LONG}"});
    auto process = nlohmann::json::parse(what.oci_process);
    for (int i = 0; i < 4; ++i) process["env"].push_back("V" + std::to_string(i) + '=' + std::string(100'000, 'v'));
    process["env"].push_back("LONG=" + std::string(1000, 'l'));
    what.oci_process = process.dump();
    auto got = attached(what, hello_of("e", 2));
    INFO(why(got));
    REQUIRE(got);
    CHECK(read_output(got->stdio.get()) == "1000\n");
  }
  SECTION("what cannot be started says why, and leaves nothing") {
    const auto missing = attached(exec_of("f", {"nosuch"}), hello_of("f", 2));
    REQUIRE_FALSE(missing);
    CHECK(missing.error().message().find("executable file `nosuch` not found in $PATH") != std::string::npos);
    CHECK(attached(exec_of("g", {"true"}), hello_of("other", 2)).error().code() == errc::invalid_argument);
    CHECK(attached(exec_of("g", {"true"}), hello_of("g", 1)).error().code() == errc::conflict);
    CHECK(processes() == 1);
  }
  SECTION("a machine that does not answer, and a client that is closed meanwhile") {
    machine.freeze();
    const auto late = wait_for<agent_attached>(
        [&](auto done) { agent->exec(exec_of("h", {"true"}), hello_of("h", 2), 300ms, done); });
    REQUIRE_FALSE(late);
    CHECK(late.error().code() == errc::timeout);
    auto answer = std::make_shared<std::promise<bool>>();
    agent->exec(exec_of("i", {"true"}), hello_of("i", 2), limit,
                [answer](const auto& got) { answer->set_value(got.has_value()); });
    agent.reset();
    auto told = answer->get_future();
    REQUIRE(told.wait_for(20s) == std::future_status::ready);
    CHECK_FALSE(told.get());
  }
}
