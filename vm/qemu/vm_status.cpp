#include "vm/qemu/vm_status.hpp"

namespace arca::vm {

std::string acceleration_text(const vm_status& status) {
  if (!status.acceleration) return "not known yet: whether KVM boots a guest is being found out";
  return (status.acceleration->usable ? "KVM: " : "TCG (emulation): ") + status.acceleration->reason;
}

machine_choice default_machine(const std::string& setting, const vm_status& status) {
  if (setting == "vm" || setting == "namespace") return {setting, "set in the configuration"};
  if (!status.has_hypervisor)
    return {"namespace", "auto: " + (status.hypervisor.empty() ? "the host is being looked at" : status.hypervisor)};
  if (!status.acceleration) return {"namespace", "auto: whether KVM boots a guest is being found out"};
  if (!status.acceleration->usable) return {"namespace", "auto: " + status.acceleration->reason};
  if (!status.has_guest) return {"namespace", "auto: " + status.guest};
  return {"vm", "auto: " + status.acceleration->reason};
}

}  // namespace arca::vm
