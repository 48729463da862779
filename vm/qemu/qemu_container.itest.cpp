// Containers in real virtual machines; see qemu.itest.cpp.
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <future>
#include <optional>

#include "guest/proto/stdio_frame.hpp"
#include "vm/qemu/rehearsal.hpp"
#include "vm/qemu/testing/vm_steps.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

TEST_CASE("vm: a container with a NIC, a volume and a shared file runs to its end; a pause costs it no time") {
  vm_lab in;
  qemu_backend backend(in.settings);
  must(net::ensure_bridge(bridge));
  const auto id = random_hex(32);
  const auto begin = std::chrono::steady_clock::now();
  auto box = must(in.boot(backend, id));
  const double booted = ms_since(begin);
  auto& agent = box->agent();
  configure(*box, id);
  auto nic = std::async(std::launch::async, [&] { return box->attach_nic(nic_on_bridge("eth0", "10.77.0.4")); });
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  const auto volume = in.base.root + "/volume", file = in.base.root + "/file";
  must(fs::make_dirs(volume, 0755));
  must(fs::write_file_atomic(file, "of the host\n", 0644));
  std::optional<inner_mount> inner(volume + "/inner");
  must(fs::write_file_atomic(volume + "/inner/deep", "deep\n", 0644));
  const auto volume_token = must(box->share(opened(volume), false, true));
  const auto file_token = must(box->share(opened(file), true, false));
  must(box->finish_shares());
  must(nic.get());

  container_plan plan;
  plan.args = {"sh", "-c",
               "echo line; hostname; cat /shared; cat /volume/inner/deep; echo data > /volume/new; ip addr show eth0; "
               "date +%s; sleep 1; "
               "cat /proc/self/cgroup; read x; date +%s; id -u; grep Seccomp: /proc/self/status; exit 7"};
  plan.config["OpenStdin"] = true;
  for (const auto& [source, destination, read_only] :
       {std::tuple(volume, "/volume", false), std::tuple(file, "/shared", true)}) {
    oci::mount_input m;
    m.type = "bind";
    m.source = source;
    m.destination = destination;
    m.read_only = read_only;
    plan.mounts.push_back(std::move(m));
  }
  plan.cgroup = box->identity().cgroup;
  agent_container container;
  container.container_id = id;
  container.rootfs = root.token;
  container.oci_spec = plan.build(id);
  container.stdio.spool_limit = 1 << 20;
  container.stdio.open_stdin = true;
  container.mount_sources = {{"/volume", volume_token}, {"/shared", file_token}};
  exits seen;
  seen.follow(agent);
  auto stdio = must(box->connect_stdio(id, "init", 1));
  const auto started = must(wait_for<agent_started>([&](auto done) { agent.create_container(container, 20s, done); }));
  WARN("booted " << booted << " ms, container's process after " << ms_since(begin) << " ms; " << stages_of(*box));
  CHECK(started.pid > 0);
  CHECK(soon([&] { return fs::read_file(volume + "/new").value_or("") == "data\n"; }, 10'000));
  CHECK(answers_ping("10.77.0.4"));
  std::this_thread::sleep_for(1500ms);
  must(box->pause());
  std::this_thread::sleep_for(6s);
  must(box->resume());
  const auto resumed = time(nullptr);
  stdio::frame input;
  input.kind = stdio::frame_kind::stdin_data;
  input.length = 2;
  const auto line = std::string(reinterpret_cast<const char*>(&input), sizeof input) + "x\n";
  CHECK(::send(stdio.get(), line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size()));
  const auto text = read_output(stdio.get());
  INFO(text);
  const auto lines = split(text, '\n');
  CHECK(lines.at(0) == "line");
  CHECK(lines.at(1) == "box");
  CHECK(lines.at(2) == "of the host");
  CHECK(lines.at(3) == "deep");
  CHECK(text.find("10.77.0.4/24") != std::string::npos);
  CHECK(text.find("02:42:0a:4d:00:02") != std::string::npos);
  CHECK(text.find("\n0\nSeccomp:\t2\n") != std::string::npos);
  const auto at = std::find(lines.rbegin(), lines.rend(), "0");
  REQUIRE(at != lines.rend());
  const auto date = std::stoll(*(at + 1));
  CHECK(date > resumed - 4);
  CHECK(date <= time(nullptr) + 1);
  CHECK(seen.of("init").code == 7);
  CHECK(must(fs::read_file(file)) == "of the host\n");

  must(wait_for<void>([&](auto done) { agent.acknowledge(id, {"init"}, 20s, done); }));
  (void)wait_for<void>([&](auto done) { agent.shutdown(5s, done); });
  CHECK(wait_for_end(box->exit_fd(), 30'000));
  box->destroy();
  inner.reset();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: kill_container ends the container; without its agent, the machine") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(box->finish_shares());
  container_plan plan;
  plan.args = {"sleep", "1000"};
  configure(*box, id);
  plan.cgroup = box->identity().cgroup;
  agent_container container;
  container.container_id = id;
  container.rootfs = root.token;
  container.oci_spec = plan.build(id);
  must(wait_for<agent_started>([&](auto done) { box->agent().create_container(container, 20s, done); }));
  exits seen;
  seen.follow(box->agent());
  must(box->pause());
  must(box->kill_container());  // a paused one, too
  CHECK(seen.of("init").code == 137);
  CHECK_FALSE(has_ended(box->exit_fd()));

  ::kill(static_cast<pid_t>(box->identity().pid), SIGSTOP);  // as good as a guest that hangs
  const auto begin = std::chrono::steady_clock::now();
  must(box->kill_container());
  CHECK(wait_for_end(box->exit_fd(), 15'000));
  CHECK(ms_since(begin) < 20'000);
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: paused and resumed, the agent answers again") {
  vm_lab in;
  qemu_backend backend(in.settings);
  auto box = must(in.boot(backend, random_hex(32)));
  const auto hello = [&](std::chrono::milliseconds limit) {
    return wait_for<agent_hello>([&](auto done) { box->agent().hello(backend.generation(), limit, std::move(done)); });
  };
  must(box->pause());
  CHECK(hello(300ms).error().code() == errc::timeout);
  must(box->resume());
  CHECK(hello(20s));
  box->kill();
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: a pool that nobody uses is given up until the next start") {
  vm_lab in;
  in.settings.pool = 1;
  in.settings.pool_idle = 8s;
  {
    qemu_backend backend(in.settings);
    backend.start_pool();
    REQUIRE(soon([&] { return backend.pool().idle() == 1; }, 180'000));
    REQUIRE(soon([&] { return backend.pool().idle() == 0; }, 30'000));
    CHECK(soon([&] { return in.left_behind().empty(); }, 5'000));
    std::this_thread::sleep_for(2s);
    CHECK(backend.pool().idle() == 0);
    machine_order order;
    order.cgroup = backend.cgroup_of("x", 1, {});
    CHECK(backend.take_idle(order, must(test_guest()).version) == nullptr);
    CHECK(soon([&] { return backend.pool().idle() == 1; }, 180'000));
  }
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: a start from the pool") {
  vm_lab in;
  in.settings.pool = 1;
  {
    qemu_backend backend(in.settings);
    backend.start_pool();
    REQUIRE(soon([&] { return backend.pool().idle() == 1; }, 180'000));
    std::this_thread::sleep_for(6s);  // its clock stands still meanwhile
    const auto id = random_hex(32);
    const auto waiting = cgroup_tree::host().processes(in.settings.cgroup_parent);
    const auto begin = std::chrono::steady_clock::now();
    auto box = must(in.boot(backend, id));
    const auto took = ms_since(begin);
    CHECK(rehearse_start(box->agent()));  // again: nothing is left of the first one
    const auto hello =
        must(wait_for<agent_hello>([&](auto done) { box->agent().hello(backend.generation(), 5s, done); }));
    CHECK(hello.processes.empty());
    CHECK(hello.machine_id.empty());
    configure(*box, id);
    const auto root = must(box->attach_rootfs(in.rootfs(id)));
    must(box->finish_shares());
    WARN("from the pool in " << took << " ms, with its root file system in " << ms_since(begin) << " ms");
    CHECK(std::find(waiting.begin(), waiting.end(), box->identity().pid) != waiting.end());
    CHECK(must(read_machine_record(box->identity().dir)).id == id);
    container_plan plan;
    plan.args = {"busybox", "date", "+%s"};
    plan.cgroup = box->identity().cgroup;
    agent_container container;
    container.container_id = id;
    container.rootfs = root.token;
    container.oci_spec = plan.build(id);
    container.stdio.spool_limit = 1 << 20;
    auto stdio = must(box->connect_stdio(id, "init", 1));
    const auto earliest = time(nullptr);
    must(wait_for<agent_started>([&](auto done) { box->agent().create_container(container, 20s, done); }));
    const auto date = std::stoll(read_output(stdio.get()));
    CHECK(date > earliest - 4);
    CHECK(date <= time(nullptr) + 1);
    backend.sweep();
    CHECK_FALSE(has_ended(box->exit_fd()));

    // One that died is not given out; a container with a size of its own gets none.
    REQUIRE(soon([&] { return backend.pool().idle() == 1; }, 180'000));
    backend.sweep();
    CHECK(backend.pool().idle() == 1);
    machine_order order;
    order.memory = 64 << 20;
    order.cgroup = backend.cgroup_of("x", 1, {});
    CHECK(backend.take_idle(order, must(test_guest()).version) == nullptr);
    order.memory = 0;
    CHECK(backend.take_idle(order, "another guest") == nullptr);
    CHECK(backend.pool().idle() == 0);
    box->kill();
    box->destroy();
  }
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: how long a start takes", "[.bench]") {
  for (const unsigned pool : {0u, 1u}) {
    vm_lab in;
    in.settings.pool = pool;
    qemu_backend backend(in.settings);
    backend.start_pool();
    must(net::ensure_bridge(bridge));
    std::vector<double> boots, whole;
    for (int i = 0; i < 5; ++i) {
      REQUIRE(soon([&] { return backend.pool().idle() == pool; }, 180'000));
      const auto id = random_hex(32);
      const auto begin = std::chrono::steady_clock::now();
      auto box = must(in.boot(backend, id));
      boots.push_back(ms_since(begin));
      configure(*box, id);
      auto nic = std::async(std::launch::async, [&] { return box->attach_nic(nic_on_bridge("eth0", "10.77.0.7")); });
      const auto root = must(box->attach_rootfs(in.rootfs(id)));
      must(box->finish_shares());
      must(nic.get());
      container_plan plan;
      plan.args = {"true"};
      plan.cgroup = box->identity().cgroup;
      agent_container container;
      container.container_id = id;
      container.rootfs = root.token;
      container.oci_spec = plan.build(id);
      exits seen;
      seen.follow(box->agent());
      must(wait_for<agent_started>([&](auto done) { box->agent().create_container(container, 20s, done); }));
      whole.push_back(ms_since(begin));
      seen.of("init");
      if (i == 4) WARN(stages_of(*box));
      box->kill();
      box->destroy();
    }
    std::sort(boots.begin(), boots.end());
    std::sort(whole.begin(), whole.end());
    WARN((pool == 0 ? "cold" : "pool") << ": hello p50 " << boots[2] << " ms, container with NIC p50 " << whole[2]
                                       << " ms (" << whole[0] << "–" << whole[4] << ")");
  }
}
