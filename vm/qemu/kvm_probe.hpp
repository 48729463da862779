// Whether KVM can run our guests. A /dev/kvm that opens, answers its ioctls and even runs a small program proves
// nothing (vm-facts §1: PVM hosts hang without a word in a real kernel): only a booted guest does. So the last check
// boots one, and its verdict is kept until host, kernel or QEMU change.
#pragma once
#include <functional>
#include <string>

#include "persistence/base/error.hpp"

namespace arca::vm {

struct kvm_verdict {
  bool usable = false;
  std::string reason;  ///< "KVM usable", "KVM is there but cannot boot a guest: …", "no KVM: …"
};

struct kvm_probe_settings {
  std::string device = "/dev/kvm";
  std::string pvm_module = "/sys/module/kvm_pvm";
  std::string cache;  ///< file that keeps the verdict; empty: none
  std::string key;    ///< of what the verdict depends on: boot id, guest, QEMU's version
  int deadline_ms = 5000;
  /// Boots a guest with KVM and waits for its agent, for at most the given time.
  std::function<result<void>(int deadline_ms)> boot;
};

/// Cheapest check first. Blocks for up to the deadline when it comes to booting.
kvm_verdict probe_kvm(const kvm_probe_settings& settings);

}  // namespace arca::vm
