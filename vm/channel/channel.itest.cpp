// The agent as process 1 of a real machine, and the channel to it.
#define CATCH_CONFIG_RUNNER
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/text.hpp"
#include "vm/channel/agent_channel.hpp"
#include "vm/channel/test_machine.hpp"
#include "vm/channel/test_processes.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

namespace {
long ms_since(clock_type::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_type::now() - begin).count();
}
std::string output_of(agent_client& agent, const std::string& process, const std::vector<std::string>& argv,
                      uint64_t generation = 1) {
  const auto stdio = connect_stdio(agent, process, generation);
  exec(agent, process, argv);
  return read_output(stdio.get());
}

bool console_has(const test_machine& machine, const std::string& text, std::chrono::milliseconds patience = 20s) {
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
  REQUIRE(hello(*agent, {1, std::string(32, 's'), 1'900'000'000'000'000'000}));
  start_container(*agent, {"sleep", "1000"});
  const auto date = [&](const char* process) { return std::stol(output_of(*agent, process, {"date", "+%s"})); };
  CHECK(date("d1") - 1'900'000'000 < 30);
  CHECK(date("d2") >= 1'900'000'000);
  REQUIRE(call([&](auto done) { agent->set_time(2'000'000'000'000'000'000, limit, done); }));
  const long later = date("d3");
  CHECK(later >= 2'000'000'000);
  CHECK(later < 2'000'000'030);
  CHECK(call([&](auto done) { agent->set_time(0, limit, done); }).error().code() == errc::invalid_argument);
  CHECK(output_of(*agent, "h", {"cat", "/proc/sys/kernel/hostname"}) == "box\n");
  // gRPC's clock is ahead, the container's is not.
  CHECK(std::stod(output_of(*agent, "u", {"cat", "/proc/uptime"})) < 60);

  REQUIRE(call([&](auto done) { agent->make_directory(container_id, "/etc/a/b", 0755, true, limit, done); }));
  REQUIRE(call([&](auto done) { agent->write_file({"/etc/a/b/c", "into it", 0644, container_id}, limit, done); }));
  CHECK(output_of(*agent, "w", {"cat", "/etc/a/b/c"}) == "into it");

  // The agent's log is on the console: a connection that is refused is a line in it.
  stdio::hello nonsense;
  nonsense.magic_number = 0x78787878;
  const auto stdio = agent->stdio(nonsense);
  REQUIRE(stdio);
  char end = 0;
  CHECK(recv(stdio->get(), &end, 1, 0) == 0);
  CHECK(console_has(machine, "2033-05-18T03:33:"));
}

TEST_CASE("process 1 collects children that nobody waits for") {
  test_machine machine;
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  start_container(*agent, {"sleep", "1000"}, false);
  auto pids = output_of(*agent, "o", {"sh", "-c", "for i in 1 2 3; do (sleep 1000 >/dev/null 2>&1 & echo $!); done"});
  std::replace(pids.begin(), pids.end(), '\n', ' ');
  const std::vector<std::string> dead{"sh", "-c",
                                      "cat /proc/[0-9]*/status 2>/dev/null | grep -c 'State:.Z'; sleep 0.1"};
  const std::vector<std::string> asleep{"sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null | grep -c sleep"};
  int tries = 0;
  const auto becomes = [&](const char* count) {
    for (const int end = tries + 30; tries < end; std::this_thread::sleep_for(200ms))
      if (output_of(*agent, "p" + std::to_string(tries++), asleep) == count) return true;
    return false;
  };
  CHECK(becomes("4\n"));
  CHECK(output_of(*agent, "k", {"sh", "-c", "kill " + pids}).empty());
  CHECK(becomes("1\n"));
  CHECK(output_of(*agent, "r", dead) == "0\n");
}

TEST_CASE("bytes of processes and connections of a machine") {
  const std::string words = GENERATE(as<std::string>{}, "", "arca.channel=bridge");
  CAPTURE(words);
  test_machine machine(words);
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  start_container(*agent, {"nc", "-ll", "-p", "7000", "-e", "cat"});

  SECTION("output comes whole") {
    const auto text = output_of(*agent, "e1", {"seq", "1", "300000"});
    CHECK(text.size() == 1988895);
    CHECK(text.ends_with("299999\n300000\n"));
  }
  SECTION("input goes in, and its end") {
    const auto stdio = connect_stdio(*agent, "e2", 1);
    agent_exec what;
    what.container_id = container_id;
    what.process_id = "e2";
    what.oci_process = R"({"args":["wc","-c"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}})";
    what.stdio.open_stdin = true;
    REQUIRE(wait_for<agent_started>([&](auto done) { agent->exec(what, limit, done); }));
    stdio::frame head;
    head.kind = stdio::frame_kind::stdin_data;
    head.length = 1000;
    const std::string bytes(1000, 'i');
    for (int i = 0; i < 50; ++i) {
      REQUIRE(send(stdio.get(), &head, sizeof head, 0) == static_cast<ssize_t>(sizeof head));
      REQUIRE(send(stdio.get(), bytes.data(), bytes.size(), 0) == 1000);
    }
    head.kind = stdio::frame_kind::stdin_close;
    head.length = 0;
    REQUIRE(send(stdio.get(), &head, sizeof head, 0) == static_cast<ssize_t>(sizeof head));
    CHECK(read_output(stdio.get()) == "50000\n");
  }
  SECTION("tcp, both ways at once") {
    agent_tunnel where;
    where.to = agent_tunnel::kind::tcp;
    where.host = "127.0.0.1";
    where.port = 7000;
    where.container = container_id;
    auto mine = open_tunnel(*agent, where);
    for (int tries = 0; !mine && tries < 100; ++tries) {  // it has just started
      std::this_thread::sleep_for(20ms);
      mine = open_tunnel(*agent, where);
    }
    INFO(why(mine));
    REQUIRE(mine);
    std::string sent(8u << 20, '\0');
    for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761U >> 13);
    std::thread writer([&] {
      for (size_t at = 0; at < sent.size();) {
        const ssize_t n = send(mine->get(), sent.data() + at, sent.size() - at, MSG_NOSIGNAL);
        if (n <= 0) break;
        at += static_cast<size_t>(n);
      }
      shutdown(mine->get(), SHUT_WR);
    });
    std::string got(sent.size(), '\0');
    CHECK(read_whole(mine->get(), got.data(), got.size()));
    char end = 0;
    CHECK(recv(mine->get(), &end, 1, 0) == 0);
    writer.join();
    CHECK(got == sent);
  }
  CHECK(call([&](auto done) { agent->shutdown(limit, done); }));
  CHECK(machine.wait_ended(10'000) == 0);
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

  agent_interface nic{"eth0", "02:42:ac:11:00:02", "172.17.0.1", "", {"172.17.0.2/16"}, 1400, {}};
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

  const auto set = [&](const std::string& name, bool up) {
    return call([&](auto done) { agent->set_interface(name, up, limit, done); });
  };
  const auto route = [&](const agent_route& what) {
    return call([&](auto done) { agent->change_route(what, limit, done); });
  };
  const auto word = [&](const std::string& host) {  // of the kernel, on a connection to this address
    where.host = host;
    return why(open_tunnel(*agent, where));
  };
  fine(route({"10.9.0.0/16", "", "lo", false}));
  CHECK(word("10.9.0.1") != "Network is unreachable");
  fine(route({"0.0.0.0/0", "172.17.0.1", "", true}));
  CHECK(word("10.8.0.1") == "Network is unreachable");
  fine(route({"0.0.0.0/0", "172.17.0.1", "", true}));  // it has gone already
  fine(route({"10.8.0.0/16", "", "lo", false}));
  CHECK(word("10.8.0.1") != "Network is unreachable");
  fine(route({"10.8.0.0/16", "", "lo", true}));
  CHECK(word("10.8.0.1") == "Network is unreachable");
  fine(set("lan0", false));
  refused(route({"10.8.0.0/16", "172.17.0.1", "", false}), errc::internal);
  fine(set("lan0", true));
  fine(route({"10.8.0.0/16", "172.17.0.1", "", false}));
  refused(set("none0", true), errc::not_found);
  refused(set("a/b", true), errc::invalid_argument);
  refused(route({"10.8.0.0/16", "", "none0", false}), errc::not_found);
  refused(route({"10.8.0.0/16", "", "", false}), errc::invalid_argument);
  refused(route({"10.8.0.0", "172.17.0.1", "", false}), errc::invalid_argument);
  refused(route({"10.8.0.0/16", "fd00::1", "", false}), errc::invalid_argument);
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
    stdio::hello first;
    first.generation = round - 1;
    std::snprintf(first.process_id, sizeof first.process_id, "nobody");
    const auto unfinished = agent->stdio(first);
    REQUIRE(unfinished);
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
    agent = machine.connect(30'000);
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

TEST_CASE("output that is under way survives a new client") {
  const std::string words = GENERATE(as<std::string>{}, "", "arca.channel=bridge");
  CAPTURE(words);
  test_machine machine(words);
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  start_container(*agent, {"sleep", "1000"});
  auto stdio = connect_stdio(*agent, "e", 1);
  exec(*agent, "e", {"yes"});
  for (uint64_t round = 2; round < 22; ++round) {
    CAPTURE(round);
    CHECK(read_output(stdio.get(), 100'000).size() >= 100'000);
    if (round % 2 == 0) std::this_thread::sleep_for(100ms);  // everything on the way is full
    agent.reset();
    agent = machine.connect(30'000);
    const auto got = hello(*agent, greeting(round));
    INFO(why(got));
    REQUIRE(got);
    CHECK(got->processes.size() == 2);
    stdio = connect_stdio(*agent, "e", round);
  }
}

// Wall time and QEMU's processor time; the host is seldom idle.
struct stopwatch {
  const test_machine& machine;
  clock_type::time_point begin = clock_type::now();
  double cpu = machine.cpu_ms();
  void report(const char* what, double count, const char* unit) const {
    const double wall = std::chrono::duration<double, std::milli>(clock_type::now() - begin).count();
    std::printf("  %-22s %8.3f ms, processor %8.3f ms a %s\n", what, wall / count, (machine.cpu_ms() - cpu) / count,
                unit);
  }
};

TEST_CASE("what the channel costs", "[bench]") {
  const std::string words = GENERATE(as<std::string>{}, "", "arca.channel=bridge");
  std::printf("%s\n", words.empty() ? "direct" : words.c_str());
  test_machine machine(words);
  const stopwatch boot{machine};
  auto agent = machine.connect();
  boot.report("boot to echo", 1, "boot");
  REQUIRE(hello(*agent, greeting(1)));
  boot.report("boot to Hello", 1, "boot");
  start_container(*agent, {"nc", "-ll", "-p", "7000", "-e", "cat"});
  boot.report("boot to container", 1, "boot");
  {
    const stopwatch calls{machine};
    for (int i = 0; i < 500; ++i) REQUIRE(hello(*agent, {1, {}, 0}));
    calls.report("Hello", 500, "call");
  }
  {
    const stopwatch execs{machine};
    for (int i = 0; i < 30; ++i) (void)output_of(*agent, "b" + std::to_string(i), {"echo"});
    execs.report("exec to end of output", 30, "exec");
  }
  {
    std::this_thread::sleep_for(1s);
    const stopwatch idle{machine};
    std::this_thread::sleep_for(5s);
    idle.report("idle", 5, "second");
  }
  {
    const auto stdio = connect_stdio(*agent, "out", 1);
    exec(*agent, "out", {"cat", "/dev/zero"});
    (void)read_output(stdio.get(), 8u << 20, false);
    const stopwatch output{machine};
    (void)read_output(stdio.get(), 128u << 20, false);
    output.report("output of a process", 128, "MiB");
    REQUIRE(call([&](auto done) { agent->signal(container_id, "out", 9, false, limit, done); }));
  }
  agent_tunnel where;
  where.to = agent_tunnel::kind::tcp;
  where.host = "127.0.0.1";
  where.port = 7000;
  const auto mine = open_tunnel(*agent, where);
  REQUIRE(mine);
  const stopwatch echo{machine};
  std::thread writer([&] {
    const std::string bytes(256u << 10, 'x');
    for (int i = 0; i < 128; ++i)
      if (send(mine->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) <= 0) break;
    shutdown(mine->get(), SHUT_WR);
  });
  std::string piece(256u << 10, '\0');
  while (recv(mine->get(), piece.data(), piece.size(), 0) > 0) {
  }
  writer.join();
  echo.report("tcp, there and back", 32, "MiB");
}

TEST_CASE("a client with another secret gets no answer and harms nobody") {
  test_machine machine;
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  agent.reset();
  CHECK(connect_agent(machine.socket_path(), new_agent_secret(), 1500).error().code() == errc::timeout);
  agent = machine.connect(30'000);
  CHECK(hello(*agent, greeting(2)));
}

int main(int argc, char** argv) {
  if (const auto reason = reason_not_to_boot(); !reason.empty()) {
    std::fprintf(stderr, "no guest to test with: %s\n", reason.c_str());
    return 1;
  }
  return Catch::Session().run(argc, argv);
}
