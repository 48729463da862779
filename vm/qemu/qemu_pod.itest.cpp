// Several containers in one real virtual machine; see qemu.itest.cpp.
#include <catch2/catch.hpp>
#include <csignal>
#include <nlohmann/json.hpp>

#include "vm/qemu/testing/vm_steps.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

namespace {

struct member {
  std::string id = random_hex(32);
  std::unique_ptr<machine> box;
  exits seen;
  unique_fd stdio;

  /// Root, and the container; `plan` says what it joins.
  void create(vm_lab& in, container_plan plan) {
    const auto root = must(box->attach_rootfs(in.rootfs(id)));
    must(box->finish_shares());
    plan.cgroup = box->container_cgroup();
    agent_container container;
    container.container_id = id;
    container.rootfs = root.token;
    container.oci_spec = plan.build(id);
    container.stdio.spool_limit = 1 << 20;
    seen.follow(box->agent());
    stdio = must(box->connect_stdio(id, "init", 1));
    must(wait_for<agent_started>([&](auto done) { box->agent().create_container(container, 20s, done); }));
  }
};

void boot_first(vm_lab& in, qemu_backend& backend, member& first) {
  first.box = must(in.boot(backend, first.id));
  configure(*first.box, first.id);
}

void come_in(qemu_backend& backend, const member& beside, member& next) {
  machine_order order;
  order.id = next.id;
  order.cgroup = backend.cgroup_of(next.id, 1, {});
  order.beside = beside.box->identity().dir;
  next.box = must(backend.make(order));
  must(next.box->boot(10'000));
  CHECK(next.box->is_joined());
  CHECK(next.box->identity().pid == beside.box->identity().pid);
  CHECK(next.box->identity().id == next.id);
}

container_plan beside(const member& first, std::vector<std::string> args) {
  container_plan plan;
  plan.args = std::move(args);
  const auto path = "container:" + first.id;
  plan.host_config["IpcMode"] = plan.host_config["PidMode"] = path;
  plan.joined = {{"network", path}, {"ipc", path}, {"pid", path}};
  plan.joined_shm = path;
  return plan;
}

container_plan shell(const std::string& command) {
  container_plan plan;
  plan.args = {"sh", "-c", command};
  return plan;
}

nlohmann::json record_of(const machine& box) {
  return nlohmann::json::parse(must(fs::read_file(box.identity().dir + "/machine.json")));
}

}  // namespace

TEST_CASE("vm: a second container shares network, IPC and processes; the machine ends with the last") {
  vm_lab in;
  qemu_backend backend(in.settings);
  must(net::ensure_bridge(bridge));
  member first, second;
  boot_first(in, backend, first);
  must(first.box->attach_nic(nic_on_bridge("eth0", "10.77.0.8")));
  first.create(in, shell("echo there > /dev/shm/a; while :; do sleep 0.1; done"));
  come_in(backend, first, second);
  second.create(
      in, beside(first, {"sh", "-c",
                         "while [ ! -e /dev/shm/a ]; do sleep 0.1; done; cat /dev/shm/a; ip -4 -o addr show eth0; ps; "
                         "sleep 300 & exit 9"}));
  const auto text = read_output(second.stdio.get());
  INFO(text);
  CHECK(text.find("there") == 0);
  CHECK(text.find("10.77.0.8/24") != std::string::npos);
  CHECK(text.find("while :; do") != std::string::npos);
  CHECK(second.seen.of("init").code == 9);
  CHECK_FALSE(first.seen.seen.contains("init"));  // each has its own events
  CHECK(record_of(*first.box)["members"] == nlohmann::json({first.id, second.id}));
  second.box->destroy();
  auto record = record_of(*first.box);
  CHECK(record["members"] == nlohmann::json({first.id}));
  CHECK(record["devices"]["plugged"].size() == 2);
  CHECK(record["processes"].size() == 2);
  CHECK_FALSE(has_ended(first.box->exit_fd()));
  CHECK(answers_ping("10.77.0.8"));

  // What it had is free: as often as wanted.
  for (int i = 0; i < 8; ++i) {
    member next;
    come_in(backend, first, next);
    next.create(in, beside(first, {"true"}));
    CHECK(next.seen.of("init").code == 0);
    next.box->destroy();
  }

  SECTION("the donor's end is that of who shares its processes") {
    member third;
    come_in(backend, first, third);
    third.create(in, beside(first, {"sleep", "1000"}));
    must(first.box->kill_container());
    CHECK(first.seen.of("init").code == 137);
    CHECK(third.seen.of("init").code == 137);
    first.box->destroy();
    CHECK_FALSE(has_ended(third.box->exit_fd()));
    CHECK(record_of(*third.box)["members"] == nlohmann::json({third.id}));
    CHECK_FALSE(answers_ping("10.77.0.8"));
    third.box->destroy();
  }
  SECTION("a pause is of one container alone") {
    member third;
    must(first.box->pause());  // of the machine, before
    come_in(backend, first, third);
    auto plan = shell("i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done");
    plan.joined = {{"network", "container:" + first.id}};
    third.create(in, plan);
    const auto paused = [&](const member& which) {
      const auto hello = must(wait_for<agent_hello>(
          [&](auto done) { which.box->agent().hello(backend.generation(), 5s, std::move(done)); }));
      for (const auto& p : hello.processes)
        if (p.container_id == which.id) return p.paused;
      FAIL("not there");
      return false;
    };
    CHECK(paused(first));
    CHECK_FALSE(paused(third));
    must(first.box->resume());
    CHECK_FALSE(paused(first));
    must(third.box->pause());
    CHECK(paused(third));
    must(third.box->kill_container());
    CHECK(third.seen.of("init").code == 137);
    third.box->destroy();
    first.box->destroy();
  }
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: who cannot come in leaves nothing; the others and their pause stay") {
  vm_lab in;
  qemu_backend backend(in.settings);
  member first, second;
  boot_first(in, backend, first);
  must(first.box->pause());
  machine_order order;
  order.id = second.id;
  order.cgroup = backend.cgroup_of(second.id, 1, {});
  order.beside = first.box->identity().dir;
  second.box = must(backend.make(order));
  CHECK_FALSE(second.box->boot(10'000));  // there is no container that could be paused
  second.box->destroy();
  CHECK(record_of(*first.box)["members"] == nlohmann::json({first.id}));
  CHECK_FALSE(wait_for<agent_hello>(
      [&](auto done) { first.box->agent().hello(backend.generation(), 500ms, std::move(done)); }));
  must(first.box->resume());

  first.create(in, shell("sleep 1000"));
  std::vector<member> others(8);
  size_t inside = 0;
  for (; inside < others.size(); ++inside) {
    auto& next = others[inside];
    come_in(backend, first, next);
    auto root = next.box->attach_rootfs(in.rootfs(next.id));
    REQUIRE(root);
    if (const auto plugged = next.box->finish_shares(); !plugged) {
      CHECK(plugged.error().message() == "the virtual machine has room for 8 devices, and all of it is taken");
      break;
    }
  }
  CHECK(inside == 7);  // the first one's root is the eighth
  others[inside].box->destroy();
  CHECK_FALSE(has_ended(first.box->exit_fd()));
  CHECK(record_of(*first.box)["processes"].size() == 9);
  CHECK(record_of(*first.box)["devices"]["plugged"].size() == 8);
  others[0].box->destroy();
  member late;
  come_in(backend, first, late);
  late.create(in, beside(first, {"true"}));
  CHECK(late.seen.of("init").code == 0);
  late.box->destroy();
  first.box->destroy();
  for (size_t i = 1; i < inside; ++i) others[i].box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: a container with a network of its own; what nobody takes over leaves") {
  vm_lab in;
  auto backend = std::make_unique<qemu_backend>(in.settings);
  must(net::ensure_bridge(bridge));
  member first, second, third;
  boot_first(in, *backend, first);
  must(first.box->attach_nic(nic_on_bridge("eth0", "10.77.0.8")));
  first.create(in, shell("sleep 1000"));
  come_in(*backend, first, second);
  auto nic = nic_on_bridge("eth0", "10.77.0.9");
  nic.host_name = "tapsecond";
  nic.mac = "02:42:0a:4d:00:09";
  must(second.box->attach_nic(nic));
  auto plan = shell("ip -4 -o addr; sleep 1000");
  plan.host_config["PidMode"] = "container:" + first.id;
  plan.joined = {{"network", "container:" + second.id}, {"pid", "container:" + first.id}};
  second.create(in, plan);
  CHECK(answers_ping("10.77.0.9"));
  CHECK(answers_ping("10.77.0.8"));
  come_in(*backend, first, third);
  third.create(in, beside(first, {"sleep", "1000"}));
  const auto one = first.box->identity(), two = second.box->identity();
  for (auto* each : {&first, &second, &third}) each->box.reset();  // the daemon ends
  backend.reset();

  backend = std::make_unique<qemu_backend>(in.settings);
  second.box = backend->reopen(two);
  first.box = backend->reopen(one);
  CHECK(must(second.box->adopt(10'000)).processes.size() == 3);
  CHECK(must(first.box->adopt(10'000)).processes.size() == 3);
  backend->sweep();
  const auto record = record_of(*first.box);
  CHECK(record["members"] == nlohmann::json({first.id, second.id}));
  CHECK(record["devices"]["plugged"].size() == 4);
  CHECK(must(first.box->adopt(10'000)).processes.size() == 2);
  CHECK(second.box->open_root(0));
  CHECK(answers_ping("10.77.0.9"));
  exits of_first, of_second;
  of_first.follow(first.box->agent());
  of_second.follow(second.box->agent());
  must(first.box->kill_container());
  CHECK(of_first.of("init").code == 137);
  CHECK(of_second.of("init").code == 137);  // it was in the first one's process namespace
  first.box->destroy();
  CHECK_FALSE(has_ended(second.box->exit_fd()));
  second.box->destroy();
  CHECK(in.left_behind() == "");
}
