#include "vm/qemu/qemu_backend.hpp"

#include <csignal>
#include <cstdlib>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/process.hpp"
#include "vm/qemu/machine_files.hpp"
#include "vm/qemu/qemu_machine.hpp"
#include "vm/qemu/qemu_member.hpp"
#include "vm/qemu/qemu_process.hpp"

namespace arca::vm {
namespace {

constexpr int end_ms = 2000, cgroup_patience_ms = 3000;

unsigned host_cpus() {
  return std::max(1u, std::thread::hardware_concurrency());
}

error no_qemu(const std::string& program) {
  return {errc::unsupported, "virtual machines need " + program + ": install the package qemu-system-x86"};
}

/// MemAvailable of /proc/meminfo.
uint64_t available_memory_mib() {
  for (const auto& line : split(fs::read_file("/proc/meminfo", 1u << 20).value_or(std::string()), '\n'))
    if (starts_with(line, "MemAvailable:"))
      return std::strtoull(line.c_str() + sizeof "MemAvailable:", nullptr, 10) / 1024;
  return 0;
}

}  // namespace

qemu_backend::qemu_backend(qemu_backend_settings settings)
    : settings_(std::move(settings)),
      machines_dir_(settings_.run_root + "/vm"),
      generation_(static_cast<uint64_t>(now_nanos())),
      tsc_khz_(tsc_khz_of(fs::read_file("/proc/cpuinfo", 4u << 20).value_or(std::string()))),
      boots_(host_cpus()),
      logs_(loop_),
      pool_(
          *this,
          pool_size_within(settings_.pool ? *settings_.pool : automatic_pool_size(available_memory_mib(), host_cpus()),
                           settings_.pool_memory_mib, settings_.size.memory_mib),
          settings_.pool_idle) {
  if (auto made = fs::make_dirs(machines_dir_, 0700); !made)
    log::error("the run folder cannot be made", log::kv("reason", made.error().message()));
}

qemu_backend::~qemu_backend() {
  boots_.close();
  if (prober_.joinable()) prober_.join();
  pool_.end();
  cgroup_tree::host().remove_if_empty(settings_.cgroup_parent);
}

void qemu_backend::start_pool() {
  const std::lock_guard guard(lock_);
  probe_in_background();
  pool_.fill();
}

void qemu_backend::probe_in_background() {
  if (settings_.accelerator != accelerator_choice::automatic || verdict_is_final_ || probing_ || in_background_) return;
  if (prober_.joinable()) prober_.join();  // it has nothing more to do
  in_background_ = true;
  prober_ = std::thread([this] {
    (void)acceleration();
    const std::lock_guard guard(lock_);
    in_background_ = false;
  });
}

result<std::unique_ptr<machine>> qemu_backend::make(const machine_order& order) {
  if (order.beside.empty()) {
    ARCA_TRY(made, make_vm(order));
    return std::make_unique<qemu_member>(std::shared_ptr<qemu_machine>(std::move(made)), order.id, order.cgroup, false);
  }
  std::shared_ptr<qemu_machine> box;
  {
    const std::lock_guard guard(lock_);
    if (const auto found = machines_.find(order.beside); found != machines_.end()) box = found->second.lock();
  }
  if (!box) return fail(errc::gone, "the virtual machine of the other container has ended");
  return std::make_unique<qemu_member>(std::move(box), order.id, order.cgroup, true);
}

result<std::unique_ptr<qemu_machine>> qemu_backend::make_vm(const machine_order& order) {
  if (order.host_network)
    return fail(errc::unsupported,
                "a virtual machine has a network of its own: --network host needs --runtime namespace");
  if (access(settings_.qemu.c_str(), X_OK) != 0) return fail(no_qemu(settings_.qemu));
  ARCA_TRY(server, virtiofsd());
  (void)server;
  guest_image guest;
  if (order.kernel_path.empty() || order.initrd_path.empty()) {
    ARCA_TRY(found, settings_.guest());
    guest = std::move(found);
  }
  machine_identity identity;
  identity.kind = "vm";
  identity.id = order.id;
  identity.cgroup = order.cgroup;
  identity.boot_id = host_boot_id();
  own({}, order.cgroup);
  return std::make_unique<qemu_machine>(*this, std::move(identity), order, std::move(guest));
}

std::unique_ptr<machine> qemu_backend::reopen(const machine_identity& identity) {
  std::shared_ptr<qemu_machine> box;
  {
    const std::lock_guard guard(lock_);
    auto& known = machines_[identity.dir];
    box = known.lock();
    if (!box) {
      dirs_.insert(identity.dir);
      cgroups_.insert(identity.cgroup);
      known = box = std::make_shared<qemu_machine>(*this, identity);
    }
  }
  return std::make_unique<qemu_member>(std::move(box), identity);
}

void qemu_backend::remember(const std::string& dir, std::weak_ptr<qemu_machine> box) {
  const std::lock_guard guard(lock_);
  std::erase_if(machines_, [](const auto& known) { return known.second.expired(); });
  machines_[dir] = std::move(box);
}

std::string qemu_backend::cgroup_of(const std::string& id, uint64_t generation, const std::string& parent) const {
  std::string path = parent.empty() ? settings_.cgroup_parent : parent;
  if (!starts_with(path, "/")) path.insert(path.begin(), '/');
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path != "/") path += '/';
  path += id;
  return generation > 1 ? path + '-' + std::to_string(generation) : path;
}

result<virtiofsd_program> qemu_backend::virtiofsd() {
  {
    const std::lock_guard guard(lock_);
    if (virtiofsd_) return *virtiofsd_;
  }
  ARCA_TRY(found, find_virtiofsd());
  const std::lock_guard guard(lock_);
  virtiofsd_ = found;
  return std::move(found);
}

// ---- the pool

result<std::unique_ptr<qemu_machine>> qemu_backend::make_idle() {
  machine_order order;
  order.cgroup = cgroup_of("pool-" + random_hex(6), 1, {});
  return make_vm(order);
}

std::unique_ptr<qemu_machine> qemu_backend::take_idle(const machine_order& order, const std::string& guest_version) {
  const bool usual = order.memory == 0 && order.nano_cpus == 0 && order.kernel_arguments.empty() &&
                     order.kernel_path.empty() && order.initrd_path.empty() &&
                     starts_with(order.cgroup, settings_.cgroup_parent + '/');
  return usual ? pool_.take(guest_version) : nullptr;
}

// ---- acceleration

kvm_verdict qemu_backend::acceleration() {
  if (settings_.accelerator == accelerator_choice::tcg) return {false, "KVM is switched off in the settings"};
  if (settings_.accelerator == accelerator_choice::kvm) return {true, "KVM is demanded by the settings"};
  {
    std::unique_lock guard(lock_);
    probed_.wait(guard, [this] { return !probing_; });
    if (verdict_is_final_) return *verdict_;
    probing_ = true;
  }
  kvm_probe_settings probe;
  const auto guest = settings_.guest();
  if (guest) probe.cache = settings_.data_root + "/kvm.json";
  probe.key =
      host_boot_id() + ' ' + (guest ? guest->kernel + ' ' + guest->version : "") + ' ' + qemu_version(settings_.qemu);
  probe.boot = [this](int deadline_ms) { return boot_with_kvm(deadline_ms); };
  const auto verdict = probe_kvm(probe);
  bool is_news = false;
  {
    const std::lock_guard guard(lock_);
    is_news = !verdict_ || verdict_->reason != verdict.reason;
    verdict_ = verdict;
    verdict_is_final_ = guest.has_value();
    probing_ = false;
  }
  probed_.notify_all();
  if (is_news)
    log::debug("virtual machines", log::kv("accelerator", verdict.usable ? "kvm" : "tcg"),
               log::kv("reason", verdict.reason));
  if (settings_.on_verdict) settings_.on_verdict(verdict);
  return verdict;
}

vm_status qemu_backend::look() {
  vm_status status;
  const auto server = virtiofsd();
  if (access(settings_.qemu.c_str(), X_OK) != 0) {
    status.hypervisor = no_qemu(settings_.qemu).message();
  } else if (!server) {
    status.hypervisor = server.error().message();
  } else {
    status.has_hypervisor = true;
    status.hypervisor = "QEMU " + known_qemu_version();
  }
  if (const auto guest = settings_.guest(); guest) {
    status.has_guest = true;
    status.guest = guest->version.empty() ? guest->kernel + ", " + guest->initrd + " (settings)" : guest->version;
    if (!guest->kernel_release.empty()) status.guest += ", kernel " + guest->kernel_release;
  } else {
    status.guest = guest.error().message();
  }
  if (settings_.accelerator != accelerator_choice::automatic) {
    status.acceleration = acceleration();  // known without a probe
    return status;
  }
  const std::lock_guard guard(lock_);
  probe_in_background();
  status.acceleration = verdict_;
  return status;
}

std::string qemu_backend::known_qemu_version() {
  {
    const std::lock_guard guard(lock_);
    if (!qemu_version_.empty()) return qemu_version_;
  }
  const auto version = qemu_version(settings_.qemu);
  if (version.empty()) return "of unknown version";
  const std::lock_guard guard(lock_);
  qemu_version_ = version;
  return version;
}

accelerator qemu_backend::choose_accelerator() {
  return acceleration().usable ? accelerator::kvm : accelerator::tcg;
}

result<void> qemu_backend::boot_with_kvm(int deadline_ms) {
  ARCA_TRY(guest, settings_.guest());
  machine_order order;
  order.id = "kvm-probe";
  order.cgroup = cgroup_of("kvm-probe-" + random_hex(4), 1, {});
  machine_identity identity;
  identity.kind = "vm";
  identity.id = order.id;
  identity.cgroup = order.cgroup;
  identity.boot_id = host_boot_id();
  own({}, order.cgroup);
  qemu_machine probe(*this, std::move(identity), order, std::move(guest));
  auto booted = probe.boot_on(accelerator::kvm, deadline_ms);
  probe.destroy();
  return booted;
}

// ---- what belongs to whom

void qemu_backend::own(const std::string& dir, const std::string& cgroup) {
  const std::lock_guard guard(lock_);
  if (!dir.empty()) dirs_.insert(dir);
  if (!cgroup.empty()) cgroups_.insert(cgroup);
}

void qemu_backend::disown(const std::string& dir, const std::string& cgroup) {
  const std::lock_guard guard(lock_);
  if (const auto at = dirs_.find(dir); at != dirs_.end()) dirs_.erase(at);
  if (const auto at = cgroups_.find(cgroup); at != cgroups_.end()) cgroups_.erase(at);
}

void qemu_backend::sweep() {
  std::vector<std::shared_ptr<qemu_machine>> running;
  {
    const std::lock_guard guard(lock_);
    for (const auto& [dir, known] : machines_)
      if (auto box = known.lock()) running.push_back(std::move(box));
  }
  for (const auto& box : running) box->drop_strangers();
  running.clear();
  // What is there is listed before what is owned: a machine that is made meanwhile is then in no list or in both.
  const auto folders = fs::list(machines_dir_).value_or(std::vector<std::string>{});
  const auto& tree = cgroup_tree::host();
  std::set<std::string> groups;
  for (const auto& name : tree.children(settings_.cgroup_parent)) groups.insert(settings_.cgroup_parent + '/' + name);
  std::vector<std::pair<std::string, std::optional<machine_record>>> strangers;
  for (const auto& name : folders) {
    const auto dir = machines_dir_ + '/' + name;
    auto record = read_machine_record(dir);
    if (record) groups.insert(record->cgroup);  // --cgroup-parent puts it elsewhere
    strangers.emplace_back(dir, record ? std::optional(std::move(*record)) : std::nullopt);
  }
  std::set<std::string> owned_dirs, owned_groups;
  {
    const std::lock_guard guard(lock_);
    owned_dirs.insert(dirs_.begin(), dirs_.end());
    owned_groups.insert(cgroups_.begin(), cgroups_.end());
  }

  for (const auto& [dir, record] : strangers) {
    if (owned_dirs.contains(dir) || !record || record->boot_id != host_boot_id()) continue;
    for (const auto& p : record->processes)
      if (const auto process = open_process(p.pid, p.start_time)) {
        log::info("process of a virtual machine without a container is ended", log::kv("process", p.name),
                  log::kv("pid", p.pid));
        send_signal(process->get(), SIGKILL);
        wait_for_end(process->get(), end_ms);
      }
  }
  for (const auto& path : groups) {
    if (owned_groups.contains(path)) continue;
    (void)tree.kill(path);
    if (auto removed = tree.remove(path, cgroup_patience_ms); !removed)
      log::warn("cgroup cannot be removed", log::kv("reason", removed.error().message()));
  }
  for (const auto& [dir, record] : strangers) {
    if (owned_dirs.contains(dir)) continue;
    if (auto removed = fs::remove_tree(dir); !removed)
      log::warn("machine folder cannot be removed", log::kv("reason", removed.error().message()));
  }
}

}  // namespace arca::vm
