#include "vm/oci/mounts.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>

#include "persistence/base/text.hpp"

namespace arca::oci {
namespace {

json mount_entry(const char* destination, const char* type, const char* source, std::vector<std::string> options) {
  return {{"destination", destination}, {"type", type}, {"source", source}, {"options", std::move(options)}};
}

bool writable_cgroups(const json& hc, bool privileged) {
  bool writable = privileged;
  for (const auto& option : texts(hc, "SecurityOpt")) {
    if (!starts_with(option, "writable-cgroups")) continue;
    const auto value = option.substr(std::min(option.size(), std::strlen("writable-cgroups") + 1));
    writable = value.empty() || lower(value) == "true" || value == "1" || lower(value) == "t";
  }
  return writable;
}

/// What every container has, as Docker's default Linux spec.
std::vector<json> default_mounts(const spec_inputs& in, bool privileged) {
  const auto& hc = in.host_config;
  const std::string shm = std::to_string(integer_or(hc, "ShmSize", 0) > 0 ? integer_or(hc, "ShmSize", 0) : 64 << 20);
  const char* ro = privileged ? "rw" : "ro";
  const char* cgroup_ro = writable_cgroups(hc, privileged) ? "rw" : "ro";
  std::vector<json> mounts;
  mounts.push_back(mount_entry("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  mounts.push_back(mount_entry("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  mounts.push_back(mount_entry("/dev/pts", "devpts", "devpts",
                               {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}));
  mounts.push_back(mount_entry("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", ro}));
  mounts.push_back(mount_entry("/sys/fs/cgroup", "cgroup", "cgroup", {cgroup_ro, "nosuid", "noexec", "nodev"}));
  mounts.push_back(mount_entry("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  const auto ipc = text(hc, "IpcMode");
  if (ipc == "host" || in.joined.contains("ipc"))
    mounts.push_back(mount_entry("/dev/shm", "bind", ipc == "host" ? "/dev/shm" : in.joined_shm.c_str(),
                                 {"rbind", "rprivate", "nosuid", "noexec", "nodev"}));
  else if (ipc != "none")
    mounts.push_back(
        mount_entry("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=" + shm}));
  return mounts;
}

/// Number of path parts: a mount never comes before the one that holds its mount point.
long depth(const std::string& path) {
  return path == "/" ? 0 : std::count(path.begin(), path.end(), '/');
}

/// Options of a tmpfs as mount(8) has them; flags that exclude each other share a key.
const std::map<std::string, std::string>& tmpfs_flags() {
  static const std::map<std::string, std::string> keys = {{"ro", "ro"},
                                                          {"rw", "ro"},
                                                          {"suid", "suid"},
                                                          {"nosuid", "suid"},
                                                          {"dev", "dev"},
                                                          {"nodev", "dev"},
                                                          {"exec", "exec"},
                                                          {"noexec", "exec"},
                                                          {"sync", "sync"},
                                                          {"async", "sync"},
                                                          {"dirsync", "dirsync"},
                                                          {"remount", "remount"},
                                                          {"mand", "mand"},
                                                          {"nomand", "mand"},
                                                          {"atime", "atime"},
                                                          {"noatime", "atime"},
                                                          {"diratime", "diratime"},
                                                          {"nodiratime", "diratime"},
                                                          {"bind", "bind"},
                                                          {"rbind", "rbind"},
                                                          {"unbindable", "p"},
                                                          {"runbindable", "p"},
                                                          {"private", "p"},
                                                          {"rprivate", "p"},
                                                          {"shared", "p"},
                                                          {"rshared", "p"},
                                                          {"slave", "p"},
                                                          {"rslave", "p"},
                                                          {"relatime", "relatime"},
                                                          {"norelatime", "relatime"},
                                                          {"strictatime", "strictatime"},
                                                          {"nostrictatime", "strictatime"}};
  return keys;
}

/// Later options win; "invalid tmpfs option".
result<std::vector<std::string>> merge_tmpfs_options(const std::vector<std::string>& options) {
  static const std::set<std::string> with_value = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"};
  std::vector<std::string> merged;
  std::set<std::string> seen;
  for (auto at = options.rbegin(); at != options.rend(); ++at) {
    if (at->empty() || *at == "defaults") continue;
    const auto& flags = tmpfs_flags();
    std::string key;
    if (const auto known = flags.find(*at); known != flags.end()) {
      key = known->second;
    } else {
      key = at->substr(0, at->find('='));
      if (at->find('=') == std::string::npos || !with_value.contains(key))
        return fail(errc::internal, "invalid tmpfs option " + go_quote(*at));
      key += '=';
    }
    if (seen.insert(key).second) merged.insert(merged.begin(), *at);
  }
  return merged;
}

/// runc's rule for what covers /proc or lies in it: other parts of the container and of the engine rely on it.
result<void> check_proc_target(const mount_input& m) {
  static const std::set<std::string_view> emulated = {// by lxcfs
                                                      "/proc/cpuinfo",
                                                      "/proc/diskstats",
                                                      "/proc/meminfo",
                                                      "/proc/stat",
                                                      "/proc/swaps",
                                                      "/proc/uptime",
                                                      "/proc/loadavg",
                                                      "/proc/slabinfo",
                                                      "/proc/net/dev",
                                                      "/proc/sys/kernel/ns_last_pid",
                                                      "/proc/sys/crypto/fips_enabled"};
  const auto refuse = [&](const char* why) {
    return fail(errc::internal, create_failed +
                                    ("unable to start container process: error during container init: error mounting " +
                                     go_quote(m.type == "tmpfs" ? "tmpfs" : m.source) + " to rootfs at " +
                                     go_quote(m.destination) + ": " + go_quote(m.destination)) +
                                    " cannot be mounted because it is " + why);
  };
  if (m.destination == "/proc") {
    struct statfs tree {};
    if (m.type == "bind" && statfs(m.source.c_str(), &tree) == 0 && tree.f_type == PROC_SUPER_MAGIC) return {};
    return refuse("not of type proc");
  }
  if (m.type == "tmpfs" || !starts_with(m.destination, "/proc/") || emulated.contains(m.destination)) return {};
  return refuse("inside /proc");
}

result<json> user_mount(const mount_input& m, std::string& rootfs_propagation) {
  ARCA_CHECK(check_proc_target(m));
  if (m.type == "tmpfs") {
    std::vector<std::string> options = {"noexec", "nosuid", "nodev", "rprivate"};
    for (auto& option : split(m.tmpfs_options, ',')) options.push_back(option);
    if (m.read_only) options.emplace_back("ro");
    ARCA_TRY(merged, merge_tmpfs_options(options));
    return mount_entry(m.destination.c_str(), "tmpfs", "tmpfs", merged);
  }
  const auto propagation = m.propagation.empty() ? std::string("rprivate") : m.propagation;
  if (propagation == "shared" || propagation == "rshared") rootfs_propagation = "rshared";
  if ((propagation == "slave" || propagation == "rslave") && rootfs_propagation.empty()) rootfs_propagation = "rslave";
  std::vector<std::string> options = {m.recursive ? "rbind" : "bind"};
  if (m.read_only) options.emplace_back(m.recursive ? "rro" : "ro");
  options.push_back(propagation);
  return mount_entry(m.destination.c_str(), "bind", m.source.c_str(), options);
}

}  // namespace

result<std::vector<mount_input>> tmpfs_mounts(const nlohmann::json& host_config) {
  std::vector<mount_input> out;
  const auto add = [&out](std::string destination, std::string options, bool read_only) -> result<void> {
    ARCA_CHECK(merge_tmpfs_options(split(options, ',')).map([](auto&&) {}));
    mount_input m;
    m.type = "tmpfs";
    m.destination = std::move(destination);
    m.tmpfs_options = std::move(options);
    m.read_only = read_only;
    out.push_back(std::move(m));
    return {};
  };
  for (const auto& [destination, options] : text_map(host_config, "Tmpfs"))
    ARCA_CHECK(add(destination, options, false));
  const auto& mounts = member(host_config, "Mounts");
  if (mounts.is_array())
    for (const auto& m : mounts) {
      if (text(m, "Type") != "tmpfs") continue;
      const auto& given = member(m, "TmpfsOptions");
      std::string options;
      const auto append = [&options](const std::string& o) { options += (options.empty() ? "" : ",") + o; };
      if (const auto mode = integer_or(given, "Mode", 0); mode != 0) {
        char octal[16];
        snprintf(octal, sizeof octal, "mode=%llo", static_cast<unsigned long long>(mode));
        append(octal);
      }
      if (const auto size = integer_or(given, "SizeBytes", 0); size != 0) append("size=" + std::to_string(size));
      const auto& more = member(given, "Options");
      if (more.is_array())
        for (const auto& pair : more) {  // [["noexec"], ["uid", "5"]]
          if (!pair.is_array() || pair.empty() || !pair[0].is_string()) continue;
          auto option = pair[0].get<std::string>();
          if (pair.size() > 1 && pair[1].is_string()) option += '=' + pair[1].get<std::string>();
          append(option);
        }
      ARCA_CHECK(add(text(m, "Target"), options, flag(m, "ReadOnly")));
    }
  return out;
}

result<mount_plan> plan_mounts(const spec_inputs& in, bool init) {
  const bool read_only_root = flag(in.host_config, "ReadonlyRootfs");
  mount_plan plan;
  std::vector<mount_input> wanted = in.mounts;
  std::set<std::string> taken;
  for (const auto& m : wanted) taken.insert(m.destination);
  const auto managed_file = [&](const char* destination, const std::string& source) {
    if (source.empty() || taken.contains(destination)) return;
    mount_input m;
    m.type = "bind";
    m.source = source;
    m.destination = destination;
    m.read_only = read_only_root;
    m.recursive = false;  // a file; crun refuses "rro" on one
    wanted.push_back(std::move(m));
  };
  managed_file("/etc/resolv.conf", in.resolv_path);
  managed_file("/etc/hostname", in.hostname_path);
  managed_file("/etc/hosts", in.hosts_path);
  if (init) {
    mount_input m;
    m.type = "bind";
    m.source = in.init_path;
    m.destination = init_destination;
    m.read_only = true;
    m.recursive = false;
    wanted.push_back(std::move(m));
  }

  // A mount of the user replaces the default one at its place; one at /dev replaces all below it as well.
  for (auto& entry : default_mounts(in, flag(in.host_config, "Privileged"))) {
    const auto destination = entry["destination"].get<std::string>();
    if (taken.contains(destination)) continue;
    if (taken.contains("/dev") && starts_with(destination, "/dev/")) continue;
    plan.mounts.push_back(std::move(entry));
  }
  if (read_only_root)
    for (auto& entry : plan.mounts) {
      const auto destination = entry["destination"].get<std::string>();
      if (destination == "/proc" || destination == "/dev" || starts_with(destination, "/dev/")) continue;
      auto& options = entry["options"];
      if (std::find(options.begin(), options.end(), "ro") == options.end()) options.push_back("ro");
    }
  std::stable_sort(wanted.begin(), wanted.end(), [](const mount_input& a, const mount_input& b) {
    return depth(a.destination) < depth(b.destination);
  });
  for (const auto& m : wanted) {
    ARCA_TRY(entry, user_mount(m, plan.rootfs_propagation));
    plan.mounts.push_back(std::move(entry));
  }
  return plan;
}

}  // namespace arca::oci
