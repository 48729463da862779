// What this host can do for virtual machines, as it was last looked at: for `docker info` and for the choice of a
// machine where nobody names one. Reading it never waits.
#pragma once
#include <mutex>
#include <optional>
#include <string>

#include "vm/qemu/kvm_probe.hpp"

namespace arca::vm {

struct vm_status {
  bool has_hypervisor = false;  ///< QEMU and virtiofsd are there
  std::string hypervisor;       ///< "QEMU 7.2.22", or the sentence with the remedy; empty: not looked at yet
  std::optional<kvm_verdict> acceleration;  ///< none: it is being found out
  bool has_guest = false;
  std::string guest;  ///< "6.1.192-2-1a2b3c4d, kernel 6.1.0-56-cloud-amd64", or the sentence with the remedy
};

/// What machines run on, and why: "KVM: KVM usable", "TCG (emulation): no KVM: …".
std::string acceleration_text(const vm_status& status);

struct machine_choice {
  std::string kind;    ///< "namespace" or "vm"
  std::string reason;  ///< "set in the configuration", "auto: …"
};
/// The kind of machine of a container that names none. `setting`: default-runtime; its `auto` is vm where KVM is known
/// to boot guests and there is one, else namespace: an emulated machine is for who asks for it.
machine_choice default_machine(const std::string& setting, const vm_status& status);

/// The last status that somebody found. Thread-safe.
class published_vm_status {
 public:
  vm_status get() const {
    const std::lock_guard guard(lock_);
    return status_;
  }
  void set(vm_status status) {
    const std::lock_guard guard(lock_);
    if (!status.acceleration) status.acceleration = status_.acceleration;  // found out while the rest was looked at
    status_ = std::move(status);
  }
  void set_acceleration(const kvm_verdict& verdict) {
    const std::lock_guard guard(lock_);
    status_.acceleration = verdict;
  }

 private:
  mutable std::mutex lock_;
  vm_status status_;
};

}  // namespace arca::vm
