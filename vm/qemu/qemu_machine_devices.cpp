// What is plugged into a running virtual machine: NICs and shares.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <csignal>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/overlay.hpp"
#include "vm/cgroup.hpp"
#include "vm/network/links.hpp"
#include "vm/process.hpp"
#include "vm/qemu/qemu_machine.hpp"

namespace arca::vm {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr auto call_limit = 5s;
/// Until a plugged device works inside: mostly the guest's time, which a busy host under TCG stretches.
constexpr auto device_limit = 20s;
constexpr std::chrono::milliseconds unplug_limit = 10s;
constexpr std::chrono::milliseconds leave_begins = 500ms;  ///< after the exit of a container has been told
constexpr unsigned queue_size = 1024;
constexpr int server_end_ms = 2000;
constexpr int closing_ms = 200;  ///< between the end of a server's connection and its own

}  // namespace

std::string qemu_machine::tag_for(const std::string& owner, const char* base) {
  if (owner == record_.id && !devices_.find(base, owner)) return base;
  return base + std::to_string(devices_.fresh_number());
}

result<void> qemu_machine::plug(const std::string& kind, const std::string& name, const std::string& owner, int fd,
                                const std::string& add_backend,
                                const std::function<json(const plugged_device&)>& backend_options,
                                const std::function<json(const plugged_device&)>& device_options,
                                const std::string& remove_backend) {
  plugged_device device;
  {
    std::unique_lock guard(devices_lock_);
    auto taken = devices_.take(kind, name, owner);
    while (!taken && taken.error().code() == errc::unavailable) {
      if (const auto rested = devices_.rested()) left_.wait_until(guard, *rested);
      // A container that has just ended gives its ports back soon.
      else if (left_.wait_for(guard, leaving_.empty() ? leave_begins : unplug_limit) == std::cv_status::timeout)
        break;
      taken = devices_.take(kind, name, owner);
    }
    if (!taken) return fail(taken.error());
    device = *taken;
  }
  bool has_backend = false;
  const auto plugged = [&]() -> result<void> {
    ARCA_CHECK(qmp_->call("getfd", {{"fdname", device.backend()}}, call_limit, fd));
    ARCA_CHECK(qmp_->call(add_backend, backend_options(device), call_limit));
    has_backend = true;
    ARCA_CHECK(qmp_->call("device_add", device_options(device), call_limit));
    return {};
  }();
  const std::lock_guard guard(devices_lock_);
  if (!plugged) {
    if (has_backend) (void)qmp_->call(remove_backend, {{"id", device.backend()}}, call_limit);
    devices_.free(device.id);
    return plugged;
  }
  return save_record();
}

result<void> qemu_machine::unplug(const plugged_device& device, const std::string& remove_backend) {
  // The guest's kernel lets the device go; before that nobody can.
  const auto ask = [&] {
    return qmp_->call_until("device_del", {{"id", device.id}}, "DEVICE_DELETED", device.id, unplug_limit);
  };
  auto gone = ask();
  if (!gone && gone.error().code() == errc::timeout) gone = ask();  // a guest may miss the first request
  // It was let go after we had given up waiting, or under a daemon that was killed before it wrote that down.
  const bool had_gone = !gone && gone.error().code() == errc::not_found;
  if (!gone && !had_gone) return gone;
  const auto removed = qmp_->call(remove_backend, {{"id", device.backend()}}, call_limit);
  failpoint::reached("device-unplugged");
  const std::lock_guard guard(devices_lock_);
  devices_.free(device.id);
  left_.notify_all();
  ARCA_CHECK(save_record());
  if (!removed && !had_gone) return fail(removed.error());
  return {};
}

// ---- network

result<void> qemu_machine::attach_nic(const std::string& owner, const nic_spec& nic) {
  const auto since = clock::now();
  {
    ARCA_TRY(tap, net::create_tap({nic.bridge, nic.host_name, nic.mtu}));
    failpoint::reached("nic");
    ARCA_CHECK(plug(
        "nic", nic.name, owner, tap.get(), "netdev_add",
        [](const plugged_device& d) {
          // The name is what getfd gave the descriptor. vhost-net is a kernel module that few hosts have loaded.
          return json{{"type", "tap"}, {"id", d.backend()}, {"fd", d.backend()}, {"vhost", false}};
        },
        [&](const plugged_device& d) {
          return json{{"driver", "virtio-net-pci"},
                      {"id", d.id},
                      {"netdev", d.backend()},
                      {"bus", d.port},
                      {"mac", nic.mac},
                      {"romfile", ""},
                      {"host_mtu", nic.mtu}};
        },
        "netdev_del"));
  }  // QEMU has the tap now, and it goes with QEMU
  agent_interface inside;
  inside.name = nic.name;
  inside.mac = nic.mac;
  inside.addresses = nic.addresses;
  inside.gateway4 = nic.gateway4;
  inside.gateway6 = nic.gateway6;
  inside.mtu = nic.mtu;
  if (owner != record_.id) inside.container = owner;
  ARCA_CHECK(wait_for<void>([&](auto done) { client_->configure_interface(inside, device_limit, std::move(done)); }));
  stage("nic", since);
  return {};
}

result<void> qemu_machine::detach_nic(const std::string& owner, const std::string& name) {
  std::optional<plugged_device> device;
  {
    const std::lock_guard guard(devices_lock_);
    device = devices_.find(name, owner);
  }
  if (!device) return fail(errc::not_found, "the virtual machine has no network device " + name);
  return unplug(*device, "netdev_del");
}

// ---- files

void qemu_machine::watch_share(const share_server& server) {
  auto hypervisor = std::make_shared<unique_fd>(fcntl(qemu_.pidfd.get(), F_DUPFD_CLOEXEC, 3));
  // A guest whose share's server is gone hangs in uninterruptible reads: better no machine than that one.
  backend_.exits().once(server.process.pidfd.get(), [hypervisor, wanted = server.may_end] {
    if (!*wanted && *hypervisor) send_signal(hypervisor->get(), SIGKILL);
  });
}

result<void> qemu_machine::serve_share(const std::string& owner, const share_plan& plan) {
  ARCA_TRY(program, backend_.virtiofsd());
  ARCA_TRY(members, cgroup_tree::host().create_leaf(identity_.cgroup));
  auto with_group = plan;
  for (const auto& fd : members) with_group.cgroups.push_back(fd.get());
  ARCA_TRY(share, start_virtiofsd(program, with_group));
  backend_.logs().add(identity_.dir + "/virtiofsd-" + plan.tag + ".log");
  {
    const std::lock_guard guard(devices_lock_);
    failpoint::reached("virtiofsd");
    record_.processes.push_back({"virtiofsd-" + plan.tag, share.process.pid, share.process.start_time, owner});
    share_servers_.push_back({plan.tag, std::move(share.process)});
    *share_servers_.back().may_end = true;  // until it is plugged
    watch_share(share_servers_.back());
  }
  auto plugged = plug(
      "share", plan.tag, owner, share.socket.get(), "chardev-add",
      [](const plugged_device& d) {
        const json address = {{"type", "fd"}, {"data", {{"str", d.backend()}}}};
        return json{{"id", d.backend()},
                    {"backend", {{"type", "socket"}, {"data", {{"addr", address}, {"server", false}}}}}};
      },
      [&](const plugged_device& d) {
        return json{
            {"driver", "vhost-user-fs-pci"}, {"id", d.id}, {"chardev", d.backend()}, {"tag", plan.tag}, {"bus", d.port},
            {"queue-size", queue_size}};
      },
      "chardev-remove");
  if (!plugged) {
    auto server = take_server(plan.tag);
    const bool by_qemu = plugged.error().code() == errc::internal;
    if (by_qemu && server && wait_for_end(server->pidfd.get(), closing_ms))
      plugged = fail(plugged.error().wrap("the server of the virtual machine's files has ended"));
    if (server) end_server(*server);
    return plugged;
  }
  const std::lock_guard guard(devices_lock_);
  const auto* server = find_server(plan.tag);
  // One that is struck out is being unplugged already.
  if (server == nullptr || !recorded_server(plan.tag)) return {};
  *server->may_end = false;
  if (has_ended(server->process.pidfd.get())) send_signal(qemu_.pidfd.get(), SIGKILL);  // in between
  return {};
}

const qemu_machine::share_server* qemu_machine::find_server(const std::string& tag) const {
  const auto at =
      std::find_if(share_servers_.begin(), share_servers_.end(), [&](const auto& each) { return each.tag == tag; });
  return at == share_servers_.end() ? nullptr : &*at;
}

std::optional<recorded_process> qemu_machine::recorded_server(const std::string& tag) const {
  for (const auto& p : record_.processes)
    if (p.name == "virtiofsd-" + tag) return p;
  return std::nullopt;
}

void qemu_machine::strike_out_server(const std::string& tag) {
  std::erase_if(record_.processes, [&](const recorded_process& p) { return p.name == "virtiofsd-" + tag; });
  if (!destroyed_ && !ending_) (void)save_record();
}

std::optional<child_process> qemu_machine::take_server(const std::string& tag) {
  const std::lock_guard guard(devices_lock_);
  strike_out_server(tag);
  for (auto& each : share_servers_)
    if (each.tag == tag) {
      auto process = std::move(each.process);
      std::erase_if(share_servers_, [&](const share_server& one) { return one.tag == tag; });
      return process;
    }
  return std::nullopt;
}

void qemu_machine::end_server(const child_process& server) {
  send_signal(server.pidfd.get(), SIGKILL);
  wait_for_end(server.pidfd.get(), server_end_ms);
}

result<void> qemu_machine::mount_inside(const agent_mount& what) {
  return wait_for<void>([&](auto done) { client_->mount(what, device_limit, std::move(done)); });
}

result<machine::attached_rootfs> qemu_machine::attach_rootfs(member_files& of, const rootfs_spec& rootfs) {
  const auto since = clock::now();
  images::overlay_spec overlay;
  overlay.lower = rootfs.lower;
  overlay.upper = rootfs.upper;
  overlay.work = rootfs.work;
  // A read-only container still needs mount points made in it: the launcher sets the flag when they are there.
  machine::attached_rootfs attached;
  ARCA_TRY(root, images::mount_overlay(overlay));
  share_plan plan;
  plan.dir = identity_.dir;
  plan.cache = share_cache::exclusive;
  {
    const std::lock_guard guard(devices_lock_);
    plan.tag = tag_for(of.owner, vm_start::rootfs_tag);
  }
  unique_fd tree(fcntl(root.get(), F_DUPFD_CLOEXEC, 3));
  if (!tree) return fail_errno("a descriptor of the root file system");
  attached.root = std::move(root);
  attached.token = plan.tag;
  of.rootfs = std::async(
      std::launch::async,
      [this, owner = of.owner, plan = std::move(plan), tree = std::move(tree), since]() mutable -> result<void> {
        plan.entries.push_back({tree.get(), "", true});
        ARCA_CHECK(serve_share(owner, plan));
        agent_mount mount;
        mount.type = "virtiofs";
        mount.source = plan.tag;
        mount.token = plan.tag;
        ARCA_CHECK(mount_inside(mount));
        stage("rootfs", since);
        return {};
      });
  return attached;
}

result<unique_fd> qemu_machine::open_root(const std::string& owner) const {
  const std::lock_guard guard(devices_lock_);
  for (const auto& p : record_.processes) {
    if (p.owner != owner || !starts_with(p.name, std::string("virtiofsd-") + vm_start::rootfs_tag)) continue;
    // Its server has made it its own root.
    unique_fd root(::open(("/proc/" + std::to_string(p.pid) + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (root && start_time_of(static_cast<pid_t>(p.pid)) == p.start_time) return root;
  }
  return fail(errc::conflict, "container " + owner + " is not running");
}

result<std::string> qemu_machine::share(member_files& of, unique_fd source, bool read_only, bool recursive) {
  const unsigned flags =
      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? unsigned{AT_RECURSIVE} : 0u);
  member_files::waiting_share next;
  next.tree.reset(static_cast<int>(syscall(SYS_open_tree, source.get(), "", flags)));
  if (!next.tree) return fail_errno("clone of a mount");
  if (read_only) {
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (syscall(SYS_mount_setattr, next.tree.get(), "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                sizeof attributes) != 0)
      return fail_errno("read-only mount");
  }
  struct stat info {};
  if (fstat(source.get(), &info) != 0) return fail_errno("a file to share");
  next.is_folder = S_ISDIR(info.st_mode);
  next.read_only = read_only;
  next.recursive = recursive;
  const std::lock_guard guard(devices_lock_);
  next.name = std::to_string(++share_count_);
  of.waiting.push_back(std::move(next));
  return "share-" + std::to_string(share_count_);
}

result<void> qemu_machine::finish_shares(member_files& of) {
  const auto shared = serve_waiting_shares(of);
  const auto root = of.rootfs.valid() ? of.rootfs.get() : result<void>{};
  return root ? shared : root;
}

result<void> qemu_machine::serve_waiting_shares(member_files& of) {
  const auto since = clock::now();
  std::vector<member_files::waiting_share> shares;
  share_plan plan;
  {
    const std::lock_guard guard(devices_lock_);
    shares = std::exchange(of.waiting, {});
    if (shares.empty()) return {};
    plan.tag = tag_for(of.owner, vm_start::shares_tag);
  }
  plan.dir = identity_.dir;
  for (const auto& s : shares) plan.entries.push_back({s.tree.get(), s.name, s.is_folder});
  ARCA_CHECK(serve_share(of.owner, plan));
  const auto folder = std::string(vm_start::machine_dir) + '/' + plan.tag;
  agent_mount whole;
  whole.type = "virtiofs";
  whole.source = plan.tag;
  whole.target = folder;
  ARCA_CHECK(mount_inside(whole));
  for (const auto& s : shares) {
    agent_mount one;
    one.type = "bind";
    one.source = folder + '/' + s.name;
    one.options = s.recursive ? "rbind" : "";
    if (s.read_only) one.options += one.options.empty() ? "ro" : ",ro";
    one.token = "share-" + s.name;
    ARCA_CHECK(mount_inside(one));
  }
  stage("shares", since);
  return {};
}

}  // namespace arca::vm
