// The agent as process 1 of a real machine, and the channel to it.
#define CATCH_CONFIG_RUNNER
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/text.hpp"
#include "vm/channel/agent_channel.hpp"
#include "vm/channel/test_machine.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

namespace {
constexpr auto limit = 20s;

long ms_since(clock_type::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_type::now() - begin).count();
}
agent_greeting greeting(uint64_t generation) {
  return {generation, std::string(32, static_cast<char>(generation)), now_nanos()};
}
result<agent_hello> hello(agent_client& agent, const agent_greeting& what) {
  return wait_for<agent_hello>([&](auto done) { agent.hello(what, limit, done); });
}
template <class Start>
result<void> call(Start start) {
  return wait_for<void>(start);
}
template <class T>
std::string why(const result<T>& r) {
  return r ? "" : r.error().message();
}
result<unique_fd> open_tunnel(agent_client& agent, const agent_tunnel& where) {
  return wait_for<unique_fd>([&](auto done) { agent.tunnel(where, limit, done); });
}
bool console_has(const test_machine& machine, const std::string& text, std::chrono::milliseconds patience = 3s) {
  for (const auto end = clock_type::now() + patience; clock_type::now() < end; std::this_thread::sleep_for(10ms))
    if (machine.console().find(text) != std::string::npos) return true;
  return false;
}
}  // namespace

TEST_CASE("a machine boots and its agent answers", "[boot]") {
  const std::string words = GENERATE(as<std::string>{}, "", "arca.channel=bridge");
  CAPTURE(words);
  const auto begin = clock_type::now();
  test_machine machine(words);
  auto agent = machine.connect();
  const auto echo = ms_since(begin);
  const auto got = hello(*agent, greeting(1));
  INFO(why(got) << machine.console());
  REQUIRE(got);
  CHECK(got->pid == 1);
  CHECK(got->machine_id.empty());
  std::printf("boot to echo %ld ms, to Hello %ld ms (%s)\n", echo, ms_since(begin), words.c_str());

  CHECK(call([&](auto done) { agent->shutdown(limit, done); }));
  CHECK(machine.wait_ended(10'000) == 0);
}

TEST_CASE("a machine takes its seed and its clock from Hello") {
  test_machine machine;
  auto agent = machine.connect();
  CHECK(hello(*agent, {1, "short", 0}).error().code() == errc::invalid_argument);
  // The agent's log has its time: a refused stdio connection is a line in it.
  REQUIRE(hello(*agent, {1, std::string(32, 's'), 1'900'000'000'000'000'000}));
  const auto refuse = [&] {
    auto stdio = open_tunnel(*agent, {});
    REQUIRE(stdio);
    const std::string nonsense(sizeof(stdio::hello), 'x');
    REQUIRE(send(stdio->get(), nonsense.data(), nonsense.size(), 0) == static_cast<ssize_t>(nonsense.size()));
    char end = 0;
    CHECK(recv(stdio->get(), &end, 1, 0) == 0);
  };
  refuse();
  CHECK(console_has(machine, "2030-03-17T17:46:"));
  REQUIRE(call([&](auto done) { agent->set_time(2'000'000'000'000'000'000, limit, done); }));
  refuse();
  CHECK(console_has(machine, "2033-05-18T03:33:"));
  CHECK(call([&](auto done) { agent->set_time(0, limit, done); }).error().code() == errc::invalid_argument);
}

TEST_CASE("a machine's file systems, sysctls and devices") {
  test_machine machine(
      {}, {"-netdev", "user,id=n0,restrict=on", "-device", "virtio-net-pci,netdev=n0,mac=02:42:ac:11:00:02,rombar=0"});
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  const auto mount = [&](const agent_mount& what) { return call([&](auto done) { agent->mount(what, limit, done); }); };
  const auto write = [&](const std::string& path) {
    return call([&](auto done) { agent->write_file({path, "text", 0644, ""}, limit, done); });
  };
  const auto fine = [](const result<void>& r) {
    INFO(why(r));
    CHECK(r);
  };
  const auto refused = [](const result<void>& r, errc code) {
    REQUIRE_FALSE(r);
    INFO(r.error().message());
    CHECK(r.error().code() == code);
  };

  fine(mount({"tmpfs", "", "/run/a/b", "nosuid,size=1m", ""}));
  fine(write("/run/a/b/x"));
  fine(call([&](auto done) { agent->make_directory("", "/run/a/b/c/d", 0755, true, limit, done); }));
  fine(write("/run/a/b/c/d/x"));
  fine(mount({"bind", "/run/a/b", "", "ro,rbind", "token"}));
  fine(mount({"bind", "/run/a/b", "/run/r", "ro", ""}));
  refused(write("/run/r/y"), errc::internal);  // read-only
  fine(mount({"bind", "/run/a/b/x", "/run/f", "", ""}));
  fine(write("/run/f"));  // a mount is overwritten in place
  for (const char* path : {"/run/f", "/run/r", "/run/a/b"})
    fine(call([&](auto done) { agent->unmount(path, false, limit, done); }));
  refused(write("/run/a/b/x/y"), errc::not_found);
  refused(mount({"nosuch", "", "/run/x", "", ""}), errc::internal);
  refused(mount({"tmpfs", "", "/run/x", "nosuch=1", ""}), errc::internal);
  refused(mount({"tmpfs", "", "", "", ""}), errc::invalid_argument);
  refused(call([&](auto done) { agent->unmount("/run/none", false, limit, done); }), errc::not_found);
  const auto begin = clock_type::now();
  refused(mount({"virtiofs", "rootfs", "/run/x", "", ""}), errc::internal);  // is not plugged: waited for
  CHECK(ms_since(begin) > 4000);

  fine(call([&](auto done) { agent->set_sysctls({{"vm.max_map_count", "262144"}}, limit, done); }));
  refused(call([&](auto done) { agent->set_sysctls({{"vm.nosuch", "1"}}, limit, done); }), errc::not_found);
  fine(call([&](auto done) {
    agent->set_up_emulator({"test", "/init", std::string("\x7fTEST", 5), std::string(5, '\xff')}, limit, done);
  }));
  fine(call([&](auto done) {
    agent->set_up_emulator({"test", "/init", std::string("\x7fTEST", 5), std::string(5, '\xff')}, limit, done);
  }));
  refused(call([&](auto done) {
            agent->set_up_emulator({"other", "/nosuch", "m", "m"}, limit, done);
          }),
          errc::not_found);

  agent_interface nic{"eth0", "02:42:ac:11:00:02", "172.17.0.1", "", {"172.17.0.2/16"}, 1400};
  fine(call([&](auto done) { agent->configure_interface(nic, limit, done); }));
  fine(call([&](auto done) { agent->configure_interface(nic, limit, done); }));
  nic.name = "lan0";
  fine(call([&](auto done) { agent->configure_interface(nic, limit, done); }));
  nic.mac = "02:42:ac:11:00:03";
  refused(call([&](auto done) { agent->configure_interface(nic, limit, done); }), errc::not_found);

  agent_tunnel where;
  where.to = agent_tunnel::kind::tcp;
  where.host = "172.17.0.2";
  where.port = 7;
  CHECK(open_tunnel(*agent, where).error().message() == "Connection refused");
}

TEST_CASE("a new client gets a clean connection, whatever the one before left") {
  const std::string words = GENERATE(as<std::string>{}, "", "arca.channel=bridge");
  CAPTURE(words);
  test_machine machine(words);
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  long slowest = 0;
  for (uint64_t round = 2; round < 22; ++round) {
    CAPTURE(round);
    // A transfer that never ends: the process that it is for is not there, so its bytes fill everything on the way.
    auto unfinished = open_tunnel(*agent, {});
    REQUIRE(unfinished);
    stdio::hello first;
    first.generation = round - 1;
    std::snprintf(first.process_id, sizeof first.process_id, "nobody");
    REQUIRE(send(unfinished->get(), &first, sizeof first, 0) == static_cast<ssize_t>(sizeof first));
    const std::string bytes(1u << 20, 'b');
    size_t sent = 0;
    for (pollfd room{unfinished->get(), POLLOUT, 0}; poll(&room, 1, round % 2 == 0 ? 50 : 0) == 1;) {
      const ssize_t n = send(unfinished->get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    CHECK(sent < (4u << 20));  // it was stopped
    const auto begin = clock_type::now();
    agent.reset();
    agent = machine.connect(5000);
    const auto got = hello(*agent, greeting(round));
    INFO(why(got));
    REQUIRE(got);
    slowest = std::max(slowest, ms_since(begin));
    char end = 0;
    CHECK(recv(unfinished->get(), &end, 1, 0) <= 0);  // the old tunnel has ended
  }
  CHECK(hello(*agent, greeting(3)).error().code() == errc::conflict);  // of a daemon before
  std::printf("slowest reconnect: %ld ms (%s)\n", slowest, words.c_str());
}

TEST_CASE("a client with another secret gets no answer and harms nobody") {
  test_machine machine;
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  agent.reset();
  CHECK(connect_agent(machine.socket_path(), new_agent_secret(), 1500).error().code() == errc::timeout);
  agent = machine.connect(5000);
  CHECK(hello(*agent, greeting(2)));
}

int main(int argc, char** argv) {
  std::string why_not;
  if (!can_boot(why_not)) {
    std::fprintf(stderr, "skipped: %s\n", why_not.c_str());
    return 4;
  }
  return Catch::Session().run(argc, argv);
}
