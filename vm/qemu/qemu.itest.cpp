// Real virtual machines under TCG. Needs root, and the network the first time that a guest is made: without a guest it
// fails. Works in a network namespace of its own.
#define CATCH_CONFIG_RUNNER
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <future>

#include "vm/qemu/testing/vm_steps.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

namespace {
/// A mount namespace of this program, whose mounts are shared as systemd's are: what a machine mounts must not come
/// back.
bool leave_mounts_alone() {
  return unshare(CLONE_NEWNS) == 0 && mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr) == 0;
}

/// A /dev/kvm for everybody, where there is one: QEMU has a user of its own.
void open_kvm_to_all() {
  struct stat info {};
  if (stat("/dev/kvm", &info) != 0) return;
  char dir[] = "/tmp/arca-kvm-XXXXXX";
  if (mkdtemp(dir) == nullptr) std::abort();
  const auto node = std::string(dir) + "/kvm";
  if (mount("tmpfs", dir, "tmpfs", 0, nullptr) != 0 || mknod(node.c_str(), S_IFCHR | 0666, info.st_rdev) != 0 ||
      chmod(node.c_str(), 0666) != 0 || mount(node.c_str(), "/dev/kvm", nullptr, MS_BIND, nullptr) != 0 ||
      umount2(dir, MNT_DETACH) != 0)
    std::abort();
  rmdir(dir);
}
/// Of the file of that name, in the process's memory.
int64_t mapped_kib(int64_t pid, const std::string& name) {
  int64_t kib = 0;
  bool mine = false;
  for (const auto& line : split(must(fs::read_file("/proc/" + std::to_string(pid) + "/smaps")), '\n')) {
    if (line.find('-') < line.find(' ')) mine = line.ends_with('/' + name);
    if (mine && starts_with(line, "Rss:")) kib += std::stoll(line.substr(4));
  }
  return kib;
}
}  // namespace

int main(int argc, char** argv) {
  if (const auto guest = test_guest(); !guest) {
    std::fprintf(stderr, "no guest to test with: %s\n", guest.error().message().c_str());
    return 1;
  }
  if (unshare(CLONE_NEWNET) != 0 || !leave_mounts_alone()) {
    std::perror("this test needs root: unshare");
    return 1;
  }
  open_kvm_to_all();
  return Catch::Session().run(argc, argv);
}

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
  for (const auto* file : {"vmlinux", "initrd"}) CHECK(mapped_kib(box->identity().pid, file) > 4096);
  box->keep_start();  // what it booted from is its memory no longer
  for (const auto* file : {"vmlinux", "initrd"}) CHECK(mapped_kib(box->identity().pid, file) < 512);

  const auto spec = in.rootfs(id);
  const auto root = must(box->attach_rootfs(spec));
  CHECK(faccessat(root.root.get(), "bin/busybox", X_OK, 0) == 0);
  CHECK_FALSE(root.is_path);
  must(box->finish_shares());

  // Its server sees the share and nothing else of the host: a file system that is unmounted there is not kept busy.
  const auto mounts = must(fs::read_file("/proc/" + std::to_string(pid_of(*box, root_server)) + "/mountinfo"));
  CHECK(split(mounts, '\n').size() < 6);
  CHECK(mounts.find(" overlay ") != std::string::npos);

  const auto folder = in.base.root + "/shared", file = in.base.root + "/file", kept = in.base.root + "/kept";
  must(fs::make_dirs(folder, 0755));
  must(fs::make_dirs(kept, 0755));
  must(fs::write_file_atomic(file, "host\n", 0644));
  CHECK(must(box->share(opened(folder), false, true)) == "share-1");
  CHECK(must(box->share(opened(file), false, false)) == "share-2");
  CHECK(must(box->share(opened(kept), true, true)) == "share-3");
  must(box->finish_shares());
  must(write_inside(*box, "/run/machine/shares/1/new", "from the guest\n"));
  CHECK(must(fs::read_file(folder + "/new")) == "from the guest\n");
  CHECK_FALSE(write_inside(*box, "/run/machine/shares/3/new", "x"));
  CHECK(must(fs::list(kept)).empty());
  CHECK_FALSE(write_inside(*box, "/run/machine/shares/new", "x"));  // the share's own folder is no place to fill

  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.2")));
  CHECK(answers_ping("10.77.0.2"));
  must(box->detach_nic("eth0"));
  CHECK(soon([] { return net::link_index("tapeth0") == 0; }, 20'000));
  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.3")));
  CHECK(answers_ping("10.77.0.3"));
  WARN(stages_of(*box));

  box->kill();
  box->destroy();
  CHECK(soon([] { return net::link_index("tapeth0") == 0; }, 20'000));
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
    if (round == 1) CHECK(longest > 100);
    for (const auto& box : boxes) box->destroy();
    boxes.clear();
    if (round == 0) before = open_files();
  }
  CHECK(soon([&] { return open_files() <= before; }, 20'000));
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
