// Sockets of the host in a virtual machine.
#include "persistence/base/log.hpp"
#include "vm/qemu/qemu_machine.hpp"

namespace arca::vm {

result<std::string> qemu_machine::share_socket(unique_fd socket) {
  {
    const std::lock_guard guard(devices_lock_);
    if (!relays_) relays_ = std::make_unique<socket_relays>(identity_.dir, client_);
  }
  return relays_->share(socket.get());
}

/// After an adoption. A machine whose sockets are not there is still one that runs.
void qemu_machine::resume_relays() {
  auto relays = std::make_unique<socket_relays>(identity_.dir, client_);
  if (auto resumed = relays->resume(); !resumed)
    log::warn("sockets of the host are not relayed any more", log::kv("container", identity_.id),
              log::kv("reason", resumed.error().message()));
  const std::lock_guard guard(devices_lock_);
  relays_ = std::move(relays);
}

}  // namespace arca::vm
