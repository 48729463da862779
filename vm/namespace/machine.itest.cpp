// The real thing: arca-guest, crun, an overlay of busybox. Needs root.
#include <signal.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/testing/busybox.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

namespace {

/// The exits an agent reports.
struct exits {
  std::mutex lock;
  std::condition_variable changed;
  std::map<std::string, agent_exit> seen;
  int ended = 0;
  void follow(agent_client& agent) {
    agent.subscribe(
        [this, &agent](const agent_event& e) {
          const std::lock_guard guard(lock);
          if (e.exit) seen[e.process_id] = *e.exit;
          changed.notify_all();
          agent.next_event();
        },
        [this](const error&) {
          const std::lock_guard guard(lock);
          ++ended;
          changed.notify_all();
        });
  }
  agent_exit of(const std::string& process) {
    std::unique_lock guard(lock);
    const bool there = changed.wait_for(guard, 20s, [&] { return seen.contains(process); });
    REQUIRE(there);
    return seen[process];
  }
};

void end(running& r, const std::string& id) {
  CHECK(wait_for<void>([&](auto done) { r.box->agent().acknowledge(id, {"init"}, 20s, done); }));
  CHECK(wait_for<void>([&](auto done) { r.box->agent().shutdown(20s, done); }));
  r.box->destroy();
  CHECK(access(r.box->identity().dir.c_str(), F_OK) != 0);
  CHECK(cgroup_tree::host().processes(r.box->identity().cgroup).empty());
}

std::string message(const error& e) {
  return e.message();
}

}  // namespace

TEST_CASE("a container runs to its end") {
  lab in;
  namespace_backend backend(in.settings);
  backend.start_pool();
  const auto id = random_hex(32);
  exits seen;
  container_plan plan;
  plan.args = {"sh", "-c", "echo out; echo err >&2; hostname; grep Seccomp: /proc/self/status; exit 7"};
  auto r = run(backend, in, id, plan);
  INFO((r ? "" : message(r.error())));
  REQUIRE(r);
  seen.follow(r->box->agent());
  const auto text = read_output(r->stdio.get());
  CHECK(text.find("out\n") != std::string::npos);
  CHECK(text.find("err\n") != std::string::npos);
  CHECK(text.find("box\n") != std::string::npos);
  CHECK(text.find("Seccomp:\t2") != std::string::npos);  // the compiled filter is in force
  CHECK(seen.of("init").code == 7);
  CHECK(r->started.pid > 0);
  end(*r, id);
}

TEST_CASE("the filter refuses what Docker's refuses") {
  lab in;
  namespace_backend backend(in.settings);
  const auto id = random_hex(32);
  container_plan plan;
  plan.args = {"sh", "-c",
               "mount -t tmpfs x /tmp; echo rc=$?; cat /proc/kcore | dd bs=1 count=1 2>/dev/null; echo; touch "
               "/proc/sys/x 2>&1; ls /sys/firmware | dd 2>/dev/null; id"};
  plan.host_config["MaskedPaths"] = {"/proc/kcore", "/sys/firmware"};
  plan.host_config["ReadonlyPaths"] = {"/proc/sys"};
  auto r = run(backend, in, id, plan);
  INFO((r ? "" : message(r.error())));
  REQUIRE(r);
  const auto text = read_output(r->stdio.get());
  INFO(text);
  CHECK(text.find("rc=1") != std::string::npos);
  CHECK(text.find("uid=0(root)") != std::string::npos);
  end(*r, id);
}

TEST_CASE("a program that is not there: the launcher's words") {
  lab in;
  namespace_backend backend(in.settings);
  const auto id = random_hex(32);
  container_plan plan;
  plan.args = {"nosuch"};
  auto r = run(backend, in, id, plan);
  REQUIRE_FALSE(r);
  CHECK(r.error().message().find("executable file `nosuch` not found in $PATH") != std::string::npos);
  backend.sweep();
}

TEST_CASE("a machine is frozen, killed and its end is seen") {
  lab in;
  namespace_backend backend(in.settings);
  const auto id = random_hex(32);
  container_plan plan;
  plan.args = {"sleep", "1000"};
  auto r = run(backend, in, id, plan);
  INFO((r ? "" : message(r.error())));
  REQUIRE(r);
  CHECK(cgroup_tree::host().processes(r->box->identity().cgroup).size() == 1);
  CHECK(r->box->pause());
  CHECK(r->box->resume());
  exits seen;
  seen.follow(r->box->agent());
  CHECK(r->box->kill_container());
  CHECK(seen.of("init").code == 137);

  std::mutex lock;
  std::condition_variable changed;
  bool ended = false;
  backend.exits().once(r->box->exit_fd(), [&] {
    const std::lock_guard guard(lock);
    ended = true;
    changed.notify_all();
  });
  r->box->kill();
  {
    std::unique_lock guard(lock);
    CHECK(changed.wait_for(guard, 20s, [&] { return ended; }));
  }
  r->box->destroy();
}

TEST_CASE("another daemon takes a machine over, the sweep spares it and takes the rest") {
  lab in;
  auto first = std::make_unique<namespace_backend>(in.settings);
  const auto id = random_hex(32), orphan = random_hex(32);
  container_plan plan;
  plan.args = {"sh", "-c", "echo one; sleep 1; echo two; exit 3"};
  auto r = run(*first, in, id, plan);
  REQUIRE(r);
  plan.args = {"sleep", "1000"};
  auto lost = run(*first, in, orphan, plan);
  REQUIRE(lost);
  const auto identity = identity_from_json(to_json(r->box->identity()));
  REQUIRE(identity);
  r->stdio.reset();

  namespace_backend second(in.settings);
  auto box = second.reopen(*identity);
  const auto adopted = box->adopt(20'000);
  INFO((adopted ? "" : message(adopted.error())));
  REQUIRE(adopted);
  second.sweep();
  CHECK(access(lost->box->identity().dir.c_str(), F_OK) != 0);
  CHECK(cgroup_tree::host().processes(lost->box->identity().cgroup).empty());
  auto stdio = box->connect_stdio(id, "init", 1);
  REQUIRE(stdio);
  exits seen;
  seen.follow(box->agent());
  CHECK(read_output(stdio->get()) == "one\ntwo\n");
  CHECK(seen.of("init").code == 3);
  r->box = std::move(box);
  end(*r, id);

  auto wrong = *identity;
  wrong.start_time += 1;
  CHECK(second.reopen(wrong)->adopt(500).error().code() == errc::gone);
}

TEST_CASE("how long a start takes", "[bench]") {
  lab in;
  in.settings.agent_pool = 4;
  namespace_backend backend(in.settings);
  backend.start_pool();
  std::vector<double> starts, whole;
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(150ms);
    const auto id = random_hex(32);
    container_plan plan;
    plan.args = {"true"};
    const auto begin = std::chrono::steady_clock::now();
    auto r = run(backend, in, id, plan);
    const auto started = std::chrono::steady_clock::now();
    REQUIRE(r);
    read_output(r->stdio.get());
    end(*r, id);
    const auto over = std::chrono::steady_clock::now();
    starts.push_back(std::chrono::duration<double, std::milli>(started - begin).count());
    whole.push_back(std::chrono::duration<double, std::milli>(over - begin).count());
  }
  std::sort(starts.begin(), starts.end());
  std::sort(whole.begin(), whole.end());
  WARN("start p50 " << starts[10] << " ms, min " << starts[0] << " ms; with end p50 " << whole[10] << " ms");
}
