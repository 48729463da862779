#include "vm/qemu/kvm_probe.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "persistence/base/fs.hpp"
#include "vm/process.hpp"
#include "vm/qemu/child_process.hpp"

using namespace arca;
using namespace arca::vm;

namespace {

struct lab {
  std::string dir;
  kvm_probe_settings settings;
  int boots = 0;
  lab() {
    char name[] = "/tmp/arca-kvm-XXXXXX";
    dir = mkdtemp(name);
    settings.pvm_module = dir + "/no-pvm";
    settings.cache = dir + "/kvm.json";
    settings.key = "boot guest qemu";
    settings.deadline_ms = 200;
  }
  ~lab() { (void)fs::remove_tree(dir); }
  /// A guest that is this program.
  void boots_as(std::vector<std::string> argv) {
    settings.boot = [this, argv](int deadline_ms) -> result<void> {
      ++boots;
      child_plan plan;
      plan.argv = argv;
      ARCA_TRY(child, start_child(plan));
      const bool ended = wait_for_end(child.pidfd.get(), deadline_ms);
      if (!ended) {
        send_signal(child.pidfd.get(), SIGKILL);
        wait_for_end(child.pidfd.get(), 1000);
        return fail(errc::timeout, "the guest said nothing for 0.2 s");
      }
      return argv[0] == "/bin/true" ? result<void>() : fail(errc::internal, "QEMU has ended");
    };
  }
};

bool has_kvm() {
  return access("/dev/kvm", R_OK | W_OK) == 0;
}

}  // namespace

TEST_CASE("kvm: without the device, or with something else in its place, nothing is booted") {
  lab in;
  in.boots_as({"/bin/true"});
  in.settings.device = in.dir + "/kvm";
  CHECK(probe_kvm(in.settings).reason == "no KVM: " + in.dir + "/kvm: No such file or directory");
  in.settings.device = "/dev/null";
  const auto verdict = probe_kvm(in.settings);
  CHECK_FALSE(verdict.usable);
  CHECK(verdict.reason == "no KVM: /dev/null does not speak version 12");
  CHECK(in.boots == 0);
}

TEST_CASE("kvm: only a booted guest proves it, and the proof is kept") {
  if (!has_kvm()) return;  // the checks before it are those of the case above
  lab in;
  SECTION("a guest that boots") {
    in.boots_as({"/bin/true"});
    CHECK(probe_kvm(in.settings).usable);
    CHECK(probe_kvm(in.settings).reason == "KVM usable");
    CHECK(in.boots == 1);
    in.settings.key = "another kernel";
    CHECK(probe_kvm(in.settings).usable);
    CHECK(in.boots == 2);
  }
  SECTION("a guest that hangs") {
    in.boots_as({"/bin/sleep", "60"});
    const auto begin = std::chrono::steady_clock::now();
    const auto verdict = probe_kvm(in.settings);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(3));
    CHECK_FALSE(verdict.usable);
    CHECK(verdict.reason == "KVM is there but cannot boot a guest: the guest said nothing for 0.2 s");
    CHECK(probe_kvm(in.settings).reason == verdict.reason);
    CHECK(in.boots == 1);
  }
  SECTION("a QEMU that fails") {
    in.boots_as({"/bin/false"});
    CHECK(probe_kvm(in.settings).reason == "KVM is there but cannot boot a guest: QEMU has ended");
  }
  SECTION("a broken cache is no proof") {
    in.boots_as({"/bin/false"});
    REQUIRE(fs::write_file_atomic(in.settings.cache, R"({"key":"boot guest qemu","usable":1})"));
    CHECK_FALSE(probe_kvm(in.settings).usable);
    CHECK(in.boots == 1);
  }
  SECTION("PVM") {
    in.boots_as({"/bin/true"});
    in.settings.pvm_module = in.dir;
    CHECK_FALSE(probe_kvm(in.settings).usable);
    CHECK(in.boots == 0);
  }
}
