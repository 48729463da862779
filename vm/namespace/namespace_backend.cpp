#include "vm/namespace/namespace_backend.hpp"

#include <dirent.h>
#include <sys/syscall.h>

#include <csignal>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/namespace/namespace_machine.hpp"

namespace arca::vm {
namespace {

std::vector<std::string> folder_names(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), closedir);
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get()))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  return names;
}

constexpr int shutdown_ms = 3000;  ///< the agent's own limit is 2 s

}  // namespace

namespace_backend::namespace_backend(namespace_settings settings)
    : settings_(std::move(settings)),
      machines_dir_(settings_.run_root + "/machines"),
      generation_(static_cast<uint64_t>(now_nanos())),
      pool_(settings_.guest_path, machines_dir_, settings_.agent_pool) {
  if (auto made = fs::make_dirs(machines_dir_, 0700); !made)
    log::error("the run folder cannot be made", log::kv("reason", made.error().message()));
  // Of the v2 tree only: on v1 crun makes what it needs, and fills cpuset itself.
  if (cgroup_tree::host().mode() == cgroup_mode::v2)
    if (auto made = cgroup_tree::host().create_parent(settings_.cgroup_parent); !made)
      log::error("the cgroup parent cannot be made", log::kv("reason", made.error().message()));
}

namespace_backend::~namespace_backend() {
  cgroup_tree::host().remove_if_empty(settings_.cgroup_parent);
}

std::string namespace_backend::cgroup_of(const std::string& id, uint64_t generation, const std::string& parent) const {
  std::string path = parent.empty() ? settings_.cgroup_parent : parent;
  if (!starts_with(path, "/")) path.insert(path.begin(), '/');
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path != "/") path += '/';
  path += id;
  return generation > 1 ? path + '-' + std::to_string(generation) : path;
}

result<std::unique_ptr<machine>> namespace_backend::make(const machine_order& order) {
  machine_identity identity;
  identity.kind = "namespace";
  identity.id = order.id;
  identity.cgroup = order.cgroup;
  identity.boot_id = host_boot_id();
  own({}, order.cgroup);
  return std::make_unique<namespace_machine>(*this, std::move(identity), order.host_network);
}

std::unique_ptr<machine> namespace_backend::reopen(const machine_identity& identity) {
  own(identity.dir, identity.cgroup);
  return std::make_unique<namespace_machine>(*this, identity, false);
}

void namespace_backend::own(const std::string& dir, const std::string& cgroup) {
  const std::lock_guard guard(lock_);
  if (!dir.empty()) dirs_.insert(dir);
  if (!cgroup.empty()) cgroups_.insert(cgroup);
}

void namespace_backend::disown(const std::string& dir, const std::string& cgroup) {
  const std::lock_guard guard(lock_);
  if (const auto at = dirs_.find(dir); at != dirs_.end()) dirs_.erase(at);
  if (const auto at = cgroups_.find(cgroup); at != cgroups_.end()) cgroups_.erase(at);
}

void namespace_backend::sweep() {
  // What is there is listed before what is owned: a machine that is made meanwhile is then in no list or in both.
  const auto folders = folder_names(machines_dir_);
  const auto agents = find_agents(machines_dir_);
  const auto& tree = cgroup_tree::host();
  const auto groups = tree.children(settings_.cgroup_parent);
  std::set<std::string> owned_dirs, owned_groups;
  for (auto& dir : pool_.folders()) owned_dirs.insert(std::move(dir));
  {
    const std::lock_guard guard(lock_);
    owned_dirs.insert(dirs_.begin(), dirs_.end());
    owned_groups.insert(cgroups_.begin(), cgroups_.end());
  }

  // SIGTERM first: the agent then ends its containers, wherever their groups are.
  std::vector<std::pair<unique_fd, found_agent>> strangers;
  for (const auto& agent : agents) {
    if (owned_dirs.contains(agent.dir)) continue;
    const auto started = start_time_of(agent.pid);
    unique_fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, agent.pid, 0)));
    if (!pidfd || started == 0 || start_time_of(agent.pid) != started) continue;
    const auto again = find_agents(machines_dir_);  // the pid is held by the descriptor now: is it still that agent?
    const bool same = std::any_of(again.begin(), again.end(),
                                  [&](const found_agent& f) { return f.pid == agent.pid && f.dir == agent.dir; });
    if (!same) continue;
    log::info("agent without a container is ended", log::kv("pid", agent.pid), log::kv("dir", agent.dir));
    send_signal(pidfd.get(), SIGTERM);
    send_signal(pidfd.get(), SIGCONT);
    strangers.emplace_back(std::move(pidfd), agent);
  }
  for (const auto& [pidfd, agent] : strangers)
    if (!wait_for_end(pidfd.get(), shutdown_ms)) {
      send_signal(pidfd.get(), SIGKILL);
      wait_for_end(pidfd.get(), 1000);
    }
  for (const auto& name : groups) {
    const auto path = settings_.cgroup_parent + '/' + name;
    if (owned_groups.contains(path)) continue;
    log::info("cgroup without a container is removed", log::kv("cgroup", path));
    (void)tree.kill(path);
    if (auto removed = tree.remove(path, 3000); !removed)
      log::warn("cgroup cannot be removed", log::kv("reason", removed.error().message()));
  }
  for (const auto& name : folders) {
    const auto dir = machines_dir_ + '/' + name;
    if (owned_dirs.contains(dir)) continue;
    if (auto removed = fs::remove_tree(dir); !removed)
      log::warn("machine folder cannot be removed", log::kv("reason", removed.error().message()));
  }
}

}  // namespace arca::vm
