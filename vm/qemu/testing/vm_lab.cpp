#include "vm/qemu/testing/vm_lab.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/guest_image/setup.hpp"

namespace arca::vm::testing {

result<guest_image> test_guest() {
  static const auto made = []() -> result<guest_image> {
    const char* root = std::getenv("ARCA_TEST_DATA_ROOT");
    setup_order order;
    order.data_root = root != nullptr ? root : "/var/tmp/arca-test-guest";
    order.agent_path = vm_guest_path();
    ARCA_CHECK(fs::make_dirs(order.data_root));
    ARCA_TRY(done, set_up_guest(order));
    (void)done;
    return find_guest(order.data_root);
  }();
  return made;
}

vm_lab::vm_lab() {
  settings.run_root = base.root + "/run";
  settings.data_root = base.root + "/data";
  REQUIRE(fs::make_dirs(settings.data_root));
  settings.guest = test_guest;
  settings.accelerator = accelerator_choice::tcg;
  settings.cgroup_parent = "/arca-test-vm-" + random_hex(4);
}

vm_lab::~vm_lab() {
  (void)cgroup_tree::host().kill(settings.cgroup_parent);
  (void)cgroup_tree::host().remove(settings.cgroup_parent, 3000);
}

result<std::unique_ptr<machine>> vm_lab::boot(qemu_backend& backend, const std::string& id) const {
  machine_order order;
  order.id = id;
  order.cgroup = backend.cgroup_of(id, 1, {});
  ARCA_TRY(box, backend.make(order));
  if (auto booted = box->boot(60'000); !booted) return fail(booted.error().wrap(box->boot_log(2000)));
  return std::move(box);
}

rootfs_spec vm_lab::rootfs(const std::string& id) const {
  const auto dir = base.root + "/c-" + id.substr(0, 12);
  REQUIRE(fs::make_dirs(dir + "/upper", 0755));
  REQUIRE(fs::make_dirs(dir + "/work", 0700));
  return {{base.layer}, dir + "/upper", dir + "/work", false};
}

std::string vm_lab::left_behind() const {
  std::string text;
  const auto mounts = fs::read_file("/proc/self/mountinfo", 16u << 20);
  if (mounts && mounts->find(base.root) != std::string::npos) text += "a mount ";
  for (const auto pid : cgroup_tree::host().processes(settings.cgroup_parent))
    text += "pid " + std::to_string(pid) + ' ';
  for (const auto& group : cgroup_tree::host().children(settings.cgroup_parent)) text += "cgroup " + group + ' ';
  for (const auto& name : fs::list(settings.run_root + "/vm").value_or(std::vector<std::string>{}))
    text += "folder " + name + ' ';
  return text;
}

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

bool soon(const std::function<bool()>& true_now, int limit_ms) {
  for (int waited = 0; waited < limit_ms; waited += 5) {
    if (true_now()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true_now();
}

}  // namespace arca::vm::testing
