// How real virtual machines end, outlive their daemon, and are swept; see qemu.itest.cpp.
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "vm/qemu/testing/vm_steps.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

TEST_CASE("vm: another daemon takes a machine over, the sweep spares it and takes the rest") {
  vm_lab in;
  auto first = std::make_unique<qemu_backend>(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(*first, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(box->finish_shares());
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
  CHECK(wait_for<agent_hello>([&](auto done) { adopted->agent().hello(second.generation(), 20s, std::move(done)); }));
  CHECK(answers_ping("10.77.0.5"));
  must(adopted->detach_nic("eth0"));
  CHECK(adopted->detach_nic("eth0").error().code() == errc::not_found);
  CHECK(soon([] { return net::link_index("tapeth0") == 0; }, 20'000));

  // What it does not own any more it does not adopt.
  auto wrong = identity;
  wrong.start_time += 1;
  adopted.reset();
  CHECK(second.reopen(wrong)->adopt(500).error().code() == errc::gone);
  auto again = second.reopen(identity);
  must(again->adopt(10'000));
  const auto server = pid_of(*again, root_server);
  ::kill(server, SIGKILL);
  CHECK(wait_for_end(again->exit_fd(), 15'000));
  again->destroy();
  CHECK(in.left_behind() == "");
}

/// Not run by itself: the daemon that the case below lets die at a failpoint.
TEST_CASE("vm: a start in a process that dies", "[.dies]") {
  vm_lab in;
  in.settings.run_root = std::getenv("ARCA_DIES_RUN_ROOT");
  in.settings.cgroup_parent = std::getenv("ARCA_DIES_CGROUP");
  must(fs::write_file_atomic(std::getenv("ARCA_DIES_NOTE"), in.base.root));  // nobody tidies it but the other side
  qemu_backend backend(in.settings);
  must(net::ensure_bridge(bridge));
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(box->finish_shares());
  must(box->attach_nic(nic_on_bridge("eth0", "10.77.0.6")));
  box->kill();
  box->destroy();
}

TEST_CASE("vm: whatever a daemon that died has left is swept") {
  vm_lab in;
  char self[4096] = {};
  REQUIRE(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  const auto note = in.base.root + "/note";
  for (const auto* step : {"machine-folder", "qemu", "virtiofsd", "nic", "agent-ended"}) {
    INFO(step);
    const auto command = "ARCA_FAILPOINT=" + std::string(step) + ":1 ARCA_DIES_RUN_ROOT=" + in.settings.run_root +
                         " ARCA_DIES_CGROUP=" + in.settings.cgroup_parent + " ARCA_DIES_NOTE=" + note + " timeout 60 " +
                         self + " '[.dies]' >/dev/null 2>&1";
    CHECK(std::system(command.c_str()) != 0);
    CHECK(in.left_behind() != "");
    must(fs::remove_tree(must(fs::read_file(note))));
    qemu_backend backend(in.settings);
    backend.sweep();
    CHECK(in.left_behind() == "");
  }
  must(fs::make_dirs(in.settings.run_root + "/vm/empty"));
  qemu_backend(in.settings).sweep();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: the end of a file server is the end of the machine") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(box->finish_shares());
  const auto server = pid_of(*box, root_server);
  CHECK_FALSE(has_ended(box->exit_fd()));
  const auto begin = std::chrono::steady_clock::now();
  ::kill(server, SIGKILL);
  CHECK(wait_for_end(box->exit_fd(), 15'000));
  CHECK(ms_since(begin) < 15'000);
  box->destroy();
  CHECK(in.left_behind() == "");
}

TEST_CASE("vm: QEMU killed by somebody, its files' servers go with it") {
  vm_lab in;
  qemu_backend backend(in.settings);
  const auto id = random_hex(32);
  auto box = must(in.boot(backend, id));
  const auto root = must(box->attach_rootfs(in.rootfs(id)));
  must(box->finish_shares());
  ::kill(static_cast<pid_t>(box->identity().pid), SIGKILL);
  CHECK(wait_for_end(box->exit_fd(), 3000));
  const auto path = box->identity().cgroup;
  CHECK(soon([&] { return cgroup_tree::host().processes(path).size() <= 1; }, 20'000));  // its own parent is not reaped
  CHECK_FALSE(box->pause());
  box->destroy();
  CHECK(in.left_behind() == "");
}
