// Real virtual machines under TCG. Needs root; skipped (exit code 4) where no guest can be made (the first time that
// takes the network). Works in a network namespace of its own.
#define CATCH_CONFIG_RUNNER
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <map>
#include <mutex>
#include <optional>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/network/links.hpp"
#include "vm/process.hpp"
#include "vm/qemu/machine_files.hpp"
#include "vm/qemu/qemu_machine.hpp"
#include "vm/qemu/testing/vm_lab.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

namespace {
/// A /dev/kvm for everybody, where there is one, in a mount namespace of this program: QEMU has a user of its own.
void open_kvm_to_all() {
  struct stat info {};
  if (stat("/dev/kvm", &info) != 0) return;
  char dir[] = "/tmp/arca-kvm-XXXXXX";
  if (mkdtemp(dir) == nullptr || unshare(CLONE_NEWNS) != 0) std::abort();
  const auto node = std::string(dir) + "/kvm";
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", dir, "tmpfs", 0, nullptr) != 0 || mknod(node.c_str(), S_IFCHR | 0666, info.st_rdev) != 0 ||
      chmod(node.c_str(), 0666) != 0 || mount(node.c_str(), "/dev/kvm", nullptr, MS_BIND, nullptr) != 0 ||
      umount2(dir, MNT_DETACH) != 0)
    std::abort();
  rmdir(dir);
}
}  // namespace

int main(int argc, char** argv) {
  if (const auto guest = test_guest(); !guest) {
    std::fprintf(stderr, "skipped: %s\n", guest.error().message().c_str());
    return 4;
  }
  if (unshare(CLONE_NEWNET) != 0) {
    std::perror("this test needs root: unshare");
    return 1;
  }
  open_kvm_to_all();
  return Catch::Session().run(argc, argv);
}

namespace {

template <class T>
T must(result<T> value) {
  if (!value) FAIL(value.error().message());
  return std::move(*value);
}
void must(const result<void>& value) {
  if (!value) FAIL(value.error().message());
}

qemu_machine& vm_of(const std::unique_ptr<machine>& box) {
  return dynamic_cast<qemu_machine&>(*box);
}

std::string stages_of(const machine& box) {
  std::string text;
  const auto record = must(read_machine_record(box.identity().dir));
  for (const auto& [name, ms] : record.stages) text += name + "=" + std::to_string(static_cast<int>(ms)) + "ms ";
  return text;
}

pid_t pid_of(const machine& box, const std::string& name) {
  for (const auto& p : must(read_machine_record(box.identity().dir)).processes)
    if (p.name == name) return static_cast<pid_t>(p.pid);
  return 0;
}

result<void> write_inside(machine& box, const std::string& path, const std::string& content) {
  agent_file file;
  file.path = path;
  file.content = content;
  return wait_for<void>([&](auto done) { box.agent().write_file(file, 10s, std::move(done)); });
}

void configure(machine& box, const std::string& id) {
  agent_configuration configuration;
  configuration.machine_id = id;
  configuration.hostname = "box";
  configuration.machine_dir = box.identity().dir;
  configuration.cgroup_path = box.identity().cgroup;
  must(wait_for<void>([&](auto done) { box.agent().configure(configuration, 10s, std::move(done)); }));
}

/// A file system of its own below a folder that is shared.
struct inner_mount {
  std::string at;
  explicit inner_mount(std::string where) : at(std::move(where)) {
    must(fs::make_dirs(at, 0755));
    REQUIRE(mount("tmpfs", at.c_str(), "tmpfs", 0, "size=1m") == 0);
  }
  ~inner_mount() { umount2(at.c_str(), MNT_DETACH); }
};

unique_fd opened(const std::string& path) {
  return unique_fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
}

const net::bridge_spec bridge{.name = "arcavm0", .address = *net::parse_subnet4("10.77.0.1/24")};

nic_spec nic_on_bridge(const std::string& name, const std::string& address) {
  nic_spec nic;
  nic.name = name;
  nic.host_name = "tap" + name;
  nic.bridge = bridge.name;
  nic.mac = "02:42:0a:4d:00:02";
  nic.addresses = {address + "/24"};
  nic.gateway4 = "10.77.0.1";
  return nic;
}

/// The exits that an agent reports.
struct exits {
  std::mutex lock;
  std::condition_variable changed;
  std::map<std::string, agent_exit> seen;
  void follow(agent_client& agent) {
    agent.subscribe(
        [this](const agent_event& e) {
          const std::lock_guard guard(lock);
          if (e.exit) seen[e.process_id] = *e.exit;
          changed.notify_all();
        },
        [](const error&) {});
  }
  agent_exit of(const std::string& process) {
    std::unique_lock guard(lock);
    REQUIRE(changed.wait_for(guard, 10s, [&] { return seen.contains(process); }));
    return seen[process];
  }
};

bool answers_ping(const std::string& address) {
  return std::system(("busybox ping -c 1 -W 3 " + address + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace

TEST_CASE("vm: boots, serves files both ways, gets a NIC, and ends without a trace") {
  vm_lab in;
  qemu_backend backend(in.settings);
  must(net::ensure_bridge(bridge));
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  CHECK(box->identity().kind == "vm");
  CHECK(start_time_of(static_cast<pid_t>(box->identity().pid)) == box->identity().start_time);
  const auto status = must(fs::read_file("/proc/" + std::to_string(box->identity().pid) + "/status"));
  CHECK(status.find("CapEff:\t0000000000000000") != std::string::npos);
  CHECK(status.find("NoNewPrivs:\t1") != std::string::npos);
  CHECK(status.find("Seccomp:\t2") != std::string::npos);
  CHECK(status.find("Uid:\t0") == std::string::npos);

  const auto spec = in.rootfs(id);
  const auto root = must(box->attach_rootfs(spec));
  CHECK(faccessat(root.root.get(), "bin/busybox", X_OK, 0) == 0);
  CHECK_FALSE(root.is_path);

  // Its server sees the share and nothing else of the host: a file system that is unmounted there is not kept busy.
  const auto mounts = must(fs::read_file("/proc/" + std::to_string(pid_of(*box, "virtiofsd-rootfs")) + "/mountinfo"));
  CHECK(split(mounts, '\n').size() < 6);
  CHECK(mounts.find(" overlay ") != std::string::npos);

  const auto folder = in.base.root + "/shared", file = in.base.root + "/file", kept = in.base.root + "/kept";
  must(fs::make_dirs(folder, 0755));
  must(fs::make_dirs(kept, 0755));
  must(fs::write_file_atomic(file, "host\n", 0644));
  CHECK(must(box->share(opened(folder), false, true)) == "share-1");
  CHECK(must(box->share(opened(file), false, false)) == "share-2");
  CHECK(must(box->share(opened(kept), true, true)) == "share-3");
  must(vm_of(box).finish_shares());
  must(write_inside(*box, "/run/machine/shares/1/new", "from the guest\n"));
  CHECK(must(fs::read_file(folder + "/new")) == "from the guest\n");
  CHECK_FALSE(write_inside(*box, "/run/machine/shares/3/new", "x"));
  CHECK(must(fs::list(kept)).empty());
  CHECK_FALSE(write_inside(*box, "/run/machine/shares/new", "x"));  // the share's own folder is no place to fill

  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.2")));
  CHECK(answers_ping("10.77.0.2"));
  must(box->detach_nic("eth0"));
  CHECK(soon([] { return net::link_index("tapeth0") == 0; }, 2000));
  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.3")));
  CHECK(answers_ping("10.77.0.3"));
  WARN(stages_of(*box));

  box->kill();
  box->destroy();
  CHECK(soon([] { return net::link_index("tapeth0") == 0; }, 2000));
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: the end of a file server is the end of the machine") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  const auto server = pid_of(*box, "virtiofsd-rootfs");
  REQUIRE(server > 0);
  CHECK_FALSE(has_ended(box->exit_fd()));
  const auto begin = std::chrono::steady_clock::now();
  ::kill(server, SIGKILL);
  CHECK(wait_for_end(box->exit_fd(), 3000));
  CHECK(ms_since(begin) < 1000);
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: QEMU killed by somebody, its files' servers go with it") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  ::kill(static_cast<pid_t>(box->identity().pid), SIGKILL);
  CHECK(wait_for_end(box->exit_fd(), 3000));
  const auto path = box->identity().cgroup;
  CHECK(soon([&] { return cgroup_tree::host().processes(path).size() <= 1; }, 3000));  // its own parent is not reaped
  CHECK_FALSE(box->pause());
  box->destroy();
  CHECK(in.left_behind() == "");
}

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
  must(vm_of(box).finish_shares());
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
  std::this_thread::sleep_for(3s);
  must(box->resume());
  const auto resumed = time(nullptr);
  stdio::frame input;
  input.kind = stdio::frame_kind::stdin_data;
  input.length = 2;
  must(fs::write_all(stdio.get(), std::string(reinterpret_cast<const char*>(&input), sizeof input) + "x\n"));
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
  CHECK(std::abs(std::stoll(*(at + 1)) - resumed) <= 1);
  CHECK(seen.of("init").code == 7);
  CHECK(must(fs::read_file(file)) == "of the host\n");

  must(wait_for<void>([&](auto done) { agent.acknowledge(id, "init", 2s, done); }));
  (void)wait_for<void>([&](auto done) { agent.shutdown(5s, done); });
  CHECK(wait_for_end(box->exit_fd(), 5000));
  box->destroy();
  inner.reset();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: kill_containers ends the container; without its agent, the machine") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
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
  must(box->kill_containers());  // a paused one, too
  CHECK(seen.of("init").code == 137);
  CHECK_FALSE(has_ended(box->exit_fd()));

  ::kill(static_cast<pid_t>(box->identity().pid), SIGSTOP);  // as good as a guest that hangs
  const auto begin = std::chrono::steady_clock::now();
  must(box->kill_containers());
  CHECK(wait_for_end(box->exit_fd(), 1000));
  CHECK(ms_since(begin) < 2500);
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
  CHECK(hello(5s));
  box->kill();
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: another daemon takes a machine over, the sweep spares it and takes the rest") {
  vm_lab in;
  auto first = std::make_unique<qemu_backend>(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(*first, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(net::ensure_bridge(bridge));
  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.5")));
  auto lost = must(in.boot(*first, random_hex(32)));
  const auto identity = must(identity_from_json(to_json(box->identity())));
  const auto lost_pid = lost->identity().pid;
  bool paused = false;
  SECTION("running") {}
  SECTION("paused") {
    must(box->pause());
    paused = true;
  }
  box.reset();  // the daemon ends; its machines do not
  lost.reset();
  first.reset();
  CHECK(start_time_of(static_cast<pid_t>(lost_pid)) != 0);

  qemu_backend second(in.settings);
  auto adopted = second.reopen(identity);
  must(adopted->adopt(10'000));
  second.sweep();
  CHECK(in.left_behind().find("pid " + std::to_string(identity.pid)) != std::string::npos);
  CHECK(in.left_behind().find("pid " + std::to_string(lost_pid)) == std::string::npos);
  if (paused) must(adopted->resume());
  CHECK(wait_for<agent_hello>([&](auto done) { adopted->agent().hello(second.generation(), 5s, std::move(done)); }));
  CHECK(answers_ping("10.77.0.5"));
  must(adopted->detach_nic("eth0"));
  CHECK(adopted->detach_nic("eth0").error().code() == errc::not_found);
  CHECK(soon([] { return net::link_index("tapeth0") == 0; }, 2000));

  // What it does not own any more it does not adopt.
  auto wrong = identity;
  wrong.start_time += 1;
  adopted.reset();
  CHECK(second.reopen(wrong)->adopt(500).error().code() == errc::gone);
  auto again = second.reopen(identity);
  must(again->adopt(10'000));
  const auto server = pid_of(*again, "virtiofsd-rootfs");
  ::kill(server, SIGKILL);
  CHECK(wait_for_end(again->exit_fd(), 1000));
  again->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: a start from the pool") {
  vm_lab in;
  in.settings.pool = 1;
  {
    qemu_backend backend(in.settings);
    backend.start_pool();
    REQUIRE(soon([&] { return backend.pool().idle() == 1; }, 60'000));
    std::this_thread::sleep_for(2s);  // its clock stands still meanwhile
    const auto id = random_hex(32);
    const auto begin = std::chrono::steady_clock::now();
    auto box = must(in.boot(backend, id));
    const auto took = ms_since(begin);
    configure(*box, id);
    const auto root = must(box->attach_rootfs(in.rootfs(id)));
    WARN("from the pool in " << took << " ms, with its root file system in " << ms_since(begin) << " ms");
    CHECK(took < 1000);
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
    must(wait_for<agent_started>([&](auto done) { box->agent().create_container(container, 20s, done); }));
    CHECK(std::abs(std::stoll(read_output(stdio.get())) - time(nullptr)) <= 1);
    backend.sweep();
    CHECK_FALSE(has_ended(box->exit_fd()));

    // One that died is not given out; a container with a size of its own gets none.
    REQUIRE(soon([&] { return backend.pool().idle() == 1; }, 60'000));
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

TEST_CASE("vm: many at once queue, and all boot; nothing is used up by it") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto open_files = [] { return must(fs::list("/proc/self/fd")).size(); };
  size_t before = 0;
  for (int round = 0; round < 2; ++round) {
    const size_t count = round == 0 ? 1 : 2 * std::thread::hardware_concurrency() + 1;
    std::vector<std::future<result<std::unique_ptr<machine>>>> boots;
    for (size_t i = 0; i < count; ++i)
      boots.push_back(std::async(std::launch::async, [&] { return in.boot(backend, random_hex(32)); }));
    std::vector<std::unique_ptr<machine>> boxes;
    for (auto& boot : boots) boxes.push_back(must(boot.get()));
    double longest = 0;
    for (const auto& box : boxes)
      longest = std::max(longest, must(read_machine_record(box->identity().dir)).stages[0].second);
    if (round == 1) CHECK(longest > 1000);
    for (const auto& box : boxes) box->destroy();
    boxes.clear();
    if (round == 0) before = open_files();
  }
  CHECK(soon([&] { return open_files() <= before; }, 3000));
  CHECK(in.left_behind() == "");
}

/// Not run by itself: the daemon that the case below lets die at a failpoint.
TEST_CASE("vm: a start in a process that dies", "[.dies]") {
  vm_lab in;
  in.settings.run_root = std::getenv("ARCA_DIES_RUN_ROOT");
  in.settings.cgroup_parent = std::getenv("ARCA_DIES_CGROUP");
  qemu_backend backend(in.settings);
  must(net::ensure_bridge(bridge));
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.6")));
  box->kill();
  box->destroy();
}

TEST_CASE("vm: whatever a daemon that died has left is swept") {
  vm_lab in;
  char self[4096] = {};
  REQUIRE(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  for (const auto* step : {"machine-folder", "qemu", "virtiofsd", "nic", "agent-ended"}) {
    INFO(step);
    const auto command = "ARCA_FAILPOINT=" + std::string(step) + ":1 ARCA_DIES_RUN_ROOT=" + in.settings.run_root +
                         " ARCA_DIES_CGROUP=" + in.settings.cgroup_parent + " timeout 60 " + self +
                         " '[.dies]' >/dev/null 2>&1";
    CHECK(std::system(command.c_str()) != 0);
    CHECK(in.left_behind() != "");
    qemu_backend backend(in.settings);
    backend.sweep();
    CHECK(in.left_behind() == "");
  }
  must(fs::make_dirs(in.settings.run_root + "/vm/empty"));
  qemu_backend(in.settings).sweep();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: what cannot boot says why") {
  vm_lab in;
  qemu_backend backend(in.settings);
  machine_order order;
  order.id = random_hex(32);
  order.cgroup = backend.cgroup_of(order.id, 1, {});
  SECTION("a kernel that panics") {
    order.kernel_arguments = "rdinit=/no/such/init root=none";
  }
  SECTION("no kernel") {
    order.kernel_path = "/etc/hostname";
  }
  SECTION("a kernel that nobody may read") {
    order.kernel_path = in.base.root + "/kernel";
    must(fs::write_file_atomic(order.kernel_path, "x", 0600));
  }
  auto box = must(backend.make(order));
  const auto begin = std::chrono::steady_clock::now();
  const auto booted = box->boot(30'000);
  REQUIRE_FALSE(booted);
  WARN(booted.error().message() << " after " << ms_since(begin) << " ms; log: " << box->boot_log(200));
  CHECK(ms_since(begin) < 20'000);
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: the verdict on KVM is what a guest says") {
  vm_lab in;
  in.settings.accelerator = accelerator_choice::automatic;
  qemu_backend automatic(in.settings);
  const auto verdict = automatic.acceleration();
  WARN(verdict.reason);
  in.settings.accelerator = accelerator_choice::kvm;
  qemu_backend forced(in.settings);
  machine_order order;
  order.id = random_hex(32);
  order.cgroup = forced.cgroup_of(order.id, 1, {});
  auto box = must(forced.make(order));
  const auto begin = std::chrono::steady_clock::now();
  const auto booted = box->boot(5000);
  if (!booted) WARN(booted.error().message());
  CHECK(verdict.usable == booted.has_value());
  CHECK(ms_since(begin) < 8000);
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: what is missing is named with its remedy") {
  vm_lab in;
  machine_order order;
  order.id = "a";
  order.cgroup = "/a";
  SECTION("QEMU") {
    in.settings.qemu = "/no/qemu";
    qemu_backend backend(in.settings);
    CHECK(backend.make(order).error().message() ==
          "virtual machines need /no/qemu: install the package qemu-system-x86");
  }
  SECTION("the guest") {
    in.settings.guest = [&] { return find_guest(in.base.root); };
    qemu_backend backend(in.settings);
    CHECK(backend.make(order).error().message().find("arca setup") != std::string::npos);
  }
  SECTION("host networking") {
    qemu_backend backend(in.settings);
    order.host_network = true;
    CHECK(backend.make(order).error().code() == errc::unsupported);
  }
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
      REQUIRE(soon([&] { return backend.pool().idle() == pool; }, 60'000));
      const auto id = random_hex(32);
      const auto begin = std::chrono::steady_clock::now();
      auto box = must(in.boot(backend, id));
      boots.push_back(ms_since(begin));
      configure(*box, id);
      auto nic = std::async(std::launch::async, [&] { return box->attach_nic(nic_on_bridge("eth0", "10.77.0.7")); });
      const auto root = must(box->attach_rootfs(in.rootfs(id)));
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
