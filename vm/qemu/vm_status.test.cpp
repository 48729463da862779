#include "vm/qemu/vm_status.hpp"

#include <catch2/catch.hpp>

namespace arca::vm {

TEST_CASE("auto is vm only where everything is known to work") {
  vm_status s;
  s.has_hypervisor = s.has_guest = true;
  s.hypervisor = "QEMU 7.2";
  s.guest = "6.1";
  s.acceleration = kvm_verdict{true, "KVM usable"};
  CHECK(default_machine("auto", s).kind == "vm");
  CHECK(default_machine("auto", s).reason == "auto: KVM usable");
  CHECK(default_machine("namespace", s).kind == "namespace");

  auto no_kvm = s;
  no_kvm.acceleration = kvm_verdict{false, "no KVM: /dev/kvm: No such file or directory"};
  CHECK(default_machine("auto", no_kvm).kind == "namespace");
  CHECK(default_machine("auto", no_kvm).reason == "auto: no KVM: /dev/kvm: No such file or directory");
  CHECK(default_machine("vm", no_kvm).kind == "vm");
  CHECK(acceleration_text(no_kvm) == "TCG (emulation): no KVM: /dev/kvm: No such file or directory");

  auto unknown = s;
  unknown.acceleration.reset();
  CHECK(default_machine("auto", unknown).kind == "namespace");
  CHECK(acceleration_text(unknown).find("being found out") != std::string::npos);

  auto no_guest = s;
  no_guest.has_guest = false;
  no_guest.guest = "no guest is installed: run `arca setup`";
  CHECK(default_machine("auto", no_guest).kind == "namespace");
  CHECK(default_machine("auto", no_guest).reason == "auto: no guest is installed: run `arca setup`");

  CHECK(default_machine("auto", {}).kind == "namespace");
}

}  // namespace arca::vm
