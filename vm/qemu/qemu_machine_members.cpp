// Who is inside a virtual machine: containers that come in, and what is done when one of several leaves.
#include <algorithm>
#include <csignal>
#include <future>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/process.hpp"
#include "vm/qemu/qemu_machine.hpp"

namespace arca::vm {
namespace {
using namespace std::chrono_literals;
constexpr auto call_limit = 5s;
constexpr auto leave_limit = 30s;  ///< of the same container's last run
constexpr auto end_limit = 2s;     ///< of a container that is killed
}  // namespace

void qemu_machine::attach(const std::string& owner) {
  const std::lock_guard guard(devices_lock_);
  attached_.insert(owner);
}

void qemu_machine::detach(const std::string& owner) {
  const std::lock_guard guard(devices_lock_);
  if (const auto at = attached_.find(owner); at != attached_.end()) attached_.erase(at);
}

result<void> qemu_machine::join(const std::string& owner) {
  const auto& members = record_.members;
  const auto is_out = [&] { return std::find(members.begin(), members.end(), owner) == members.end(); };
  {
    std::unique_lock guard(devices_lock_);
    if (!left_.wait_for(guard, leave_limit, [&] { return ending_ || is_out(); }))
      return fail(errc::conflict, "the container's last run is still in the virtual machine");
  }
  const std::lock_guard turn(running_lock_);
  std::string first;
  {
    const std::lock_guard guard(devices_lock_);
    if (ending_ || destroyed_ || members.empty() || !is_out())
      return fail(errc::gone, "the virtual machine of the other container has ended");
    first = members.front();
    record_.members.push_back(owner);
    if (auto saved = save_record(); !saved) {
      record_.members.pop_back();
      return saved;
    }
  }
  if (!paused_) return {};
  auto frozen = freeze_alone(first);
  if (frozen) return {};
  (void)stop();
  // Who has left meanwhile took it that this one stays.
  if (begin_leaving(owner)) {
    destroy();
    return frozen;
  }
  const std::lock_guard guard(devices_lock_);
  leaving_.erase(owner);
  std::erase(record_.members, owner);
  if (!destroyed_ && !ending_) (void)save_record();
  left_.notify_all();
  return frozen;
}

result<void> qemu_machine::freeze_alone(const std::string& first) {
  ARCA_CHECK(go_on());
  auto frozen = wait_for<void>([&](auto done) { client_->pause(first, call_limit, std::move(done)); });
  // It may be done after we have given up waiting; the machine is stopped again instead.
  if (!frozen) (void)wait_for<void>([&](auto done) { client_->resume(first, call_limit, std::move(done)); });
  return frozen;
}

bool qemu_machine::begin_leaving(const std::string& owner) {
  const std::lock_guard guard(devices_lock_);
  leaving_.insert(owner);
  ending_ = std::all_of(record_.members.begin(), record_.members.end(),
                        [&](const std::string& member) { return leaving_.contains(member); });
  if (ending_) left_.notify_all();
  return ending_;
}

void qemu_machine::part_with(const std::string& owner) {
  std::vector<plugged_device> devices;
  // One that could not be taken over, or has died, has nothing to be put in order.
  if (client_ && qmp_ && !has_ended(qemu_.pidfd.get())) {
    forget_inside(owner);
    const std::lock_guard guard(devices_lock_);
    devices = devices_.of(owner);
  }
  for (const auto& device : devices) {
    if (device.is_share()) {
      unplug_share(device);
    } else if (auto gone = unplug(device, "netdev_del"); !gone) {
      log::warn("network device stays in the virtual machine", log::kv("container", owner),
                log::kv("reason", gone.error().message()));
    }
  }
  const std::lock_guard guard(devices_lock_);
  leaving_.erase(owner);
  std::erase(record_.members, owner);
  if (!destroyed_ && !ending_) (void)save_record();
  left_.notify_all();
}

/// Until the agent knows nothing of the container: what it was told to forget, it has no process of.
void qemu_machine::forget_inside(const std::string& owner) {
  const auto forget = [&] {
    return wait_for<void>([&](auto done) { client_->acknowledge(owner, {"init"}, call_limit, std::move(done)); });
  };
  if (forget()) return;
  // It runs: a start that was given up, or one that a daemon left behind.
  const auto own = client_for(owner);
  auto ended = std::make_shared<std::promise<void>>();
  auto once = std::make_shared<std::atomic<bool>>(false);
  own->subscribe(
      [ended, once, client = std::weak_ptr(own)](const agent_event& e) {
        if (e.exit && e.process_id == "init" && !once->exchange(true)) return ended->set_value();
        if (const auto it = client.lock()) it->next_event();
      },
      [](const error&) {});
  (void)kill_container(owner);
  ended->get_future().wait_for(end_limit);
  if (auto forgotten = forget(); !forgotten)
    log::warn("container stays in the virtual machine", log::kv("container", owner),
              log::kv("reason", forgotten.error().message()));
}

void qemu_machine::unplug_share(const plugged_device& device) {
  std::optional<recorded_process> known;
  std::shared_ptr<std::atomic<bool>> may_end;
  {
    const std::lock_guard guard(devices_lock_);
    // It ends by itself as soon as QEMU lets go of it.
    known = recorded_server(device.name);
    strike_out_server(device.name);
    if (const auto* server = find_server(device.name)) may_end = server->may_end;
    if (may_end) *may_end = true;
  }
  if (starts_with(device.name, vm_start::shares_tag))
    (void)wait_for<void>([&](auto done) {
      client_->unmount(std::string(vm_start::machine_dir) + '/' + device.name, true, call_limit, std::move(done));
    });
  if (auto gone = unplug(device, "chardev-remove"); !gone) {
    log::warn("share stays in the virtual machine", log::kv("share", device.name),
              log::kv("reason", gone.error().message()));
    const std::lock_guard guard(devices_lock_);
    if (devices_.find(device.name, device.owner)) {
      if (known) record_.processes.push_back(*known);  // saved by part_with
      if (may_end) *may_end = false;
      return;
    }
  }
  if (const auto server = take_server(device.name)) end_server(*server);
}

void qemu_machine::drop_strangers() {
  std::vector<std::string> strangers;
  {
    const std::lock_guard guard(devices_lock_);
    for (const auto& member : record_.members)
      if (!attached_.contains(member)) strangers.push_back(member);
  }
  if (!client_) return;
  for (const auto& owner : strangers) {
    log::info("container of nobody leaves the virtual machine", log::kv("container", owner));
    if (begin_leaving(owner)) return destroy();
    part_with(owner);
  }
}

}  // namespace arca::vm
