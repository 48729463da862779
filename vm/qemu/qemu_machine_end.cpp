// How a virtual machine ends.
#include <csignal>

#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "vm/cgroup.hpp"
#include "vm/process.hpp"
#include "vm/qemu/qemu_machine.hpp"

namespace arca::vm {
namespace {
using namespace std::chrono_literals;
constexpr auto agent_limit = 3s;  // then the whole machine goes, and who shares it
constexpr int end_ms = 2000, cgroup_patience_ms = 4000;
}  // namespace

result<void> qemu_machine::kill_container(const std::string& owner) {
  if (!qemu_.pidfd || has_ended(qemu_.pidfd.get())) return {};
  if (client_ && qmp_) {
    if (paused_.exchange(false)) (void)qmp_->call("cont", json::object(), agent_limit);
    const auto sent =
        wait_for<void>([&](auto done) { client_->signal(owner, "init", SIGKILL, true, agent_limit, std::move(done)); });
    if (sent || sent.error().code() == errc::not_found) return {};
    log::warn("virtual machine is killed: its agent does not end the container", log::kv("container", owner),
              log::kv("reason", sent.error().message()));
  }
  kill();
  return {};
}

void qemu_machine::kill() {
  if (!qemu_.pidfd) return;
  send_signal(qemu_.pidfd.get(), SIGKILL);
  (void)cgroup_tree::host().kill(identity_.cgroup);
}

void qemu_machine::destroy() {
  if (destroyed_.exchange(true)) return;
  kill();
  const auto& tree = cgroup_tree::host();
  (void)tree.kill(identity_.cgroup);  // also what was started before it had a descriptor
  if (qemu_.pidfd) wait_for_end(qemu_.pidfd.get(), end_ms);
  {
    const std::lock_guard guard(devices_lock_);
    for (const auto& server : share_servers_) {
      send_signal(server.process.pidfd.get(), SIGKILL);
      wait_for_end(server.process.pidfd.get(), end_ms);
    }
  }
  failpoint::reached("agent-ended");
  if (auto removed = tree.remove(identity_.cgroup, cgroup_patience_ms); !removed)
    log::warn("cgroup is left behind", log::kv("container", identity_.id),
              log::kv("reason", removed.error().message()));
  if (!identity_.dir.empty()) {
    backend_.logs().remove_below(identity_.dir);
    if (auto removed = fs::remove_tree(identity_.dir); !removed)
      log::warn("machine folder is left behind", log::kv("container", identity_.id),
                log::kv("reason", removed.error().message()));
  }
  backend_.disown(identity_.dir, identity_.cgroup);
}

}  // namespace arca::vm
