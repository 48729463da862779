#include "vm/oci/host.hpp"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "persistence/base/text.hpp"
#include "vm/oci/capabilities.hpp"
#include "vm/oci/json_access.hpp"

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

namespace arca::oci {
namespace {

constexpr std::pair<const char*, int> rlimit_names[] = {
    {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
    {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_NOFILE", RLIMIT_NOFILE},     {"RLIMIT_NPROC", RLIMIT_NPROC},
    {"RLIMIT_RSS", RLIMIT_RSS},           {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
    {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_STACK", RLIMIT_STACK}};
constexpr int cap_sys_resource = 24;

host_limits read_host() {
  host_limits host;
  const auto count = static_cast<int>(all_capabilities().size());
  for (int cap = 0; cap < count; ++cap)
    if (prctl(PR_CAPBSET_READ, cap) == 1) host.bounding_caps |= uint64_t{1} << cap;
  host.may_raise_rlimits = host.bounding_caps >> cap_sys_resource & 1;
  for (const auto& [name, number] : rlimit_names) {
    rlimit limit{};
    if (getrlimit(static_cast<__rlimit_resource_t>(number), &limit) == 0) host.rlimits[name] = limit;
  }
  struct statfs tree {};
  host.cgroup_v2 = statfs("/sys/fs/cgroup", &tree) == 0 && tree.f_type == CGROUP2_SUPER_MAGIC;
  host.swap_limit = host.cgroup_v2 || access("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", F_OK) == 0;
  utsname name{};
  uname(&name);
  const std::string machine = name.machine;
  host.architecture = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
  if (sscanf(name.release, "%d.%d", &host.kernel_major, &host.kernel_minor) != 2) host.kernel_major = 0;
  return host;
}

/// False when `path` is no device.
bool describe(const std::string& path, device& out) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return false;
  if (S_ISCHR(info.st_mode))
    out.type = 'c';
  else if (S_ISBLK(info.st_mode))
    out.type = 'b';
  else
    return false;
  out.path = path;
  out.major = major(info.st_rdev);
  out.minor = minor(info.st_rdev);
  out.mode = info.st_mode & 07777;
  out.uid = info.st_uid;
  out.gid = info.st_gid;
  return true;
}

void collect(const std::string& folder, int depth, std::vector<device>& into) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), closedir);
  if (!dir || depth > 8) return;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const auto path = folder + '/' + name;
    if (entry->d_type == DT_DIR) {
      if (name == "pts" || name == "shm" || name == "fd" || name == "mqueue" || name == ".lxc" ||
          name == ".lxd-mounts" || name == ".udev")
        continue;
      collect(path, depth + 1, into);
    } else if (entry->d_type == DT_CHR || entry->d_type == DT_BLK) {
      device found;
      if (name != "console" && describe(path, found)) into.push_back(std::move(found));
    }
  }
}

}  // namespace

const host_limits& this_host() {
  static const host_limits host = read_host();
  return host;
}

const host_limits& guest_kernel() {
  static const host_limits guest = [] {
    host_limits limits;
    limits.bounding_caps = (uint64_t{1} << all_capabilities().size()) - 1;
    limits.may_raise_rlimits = true;
    limits.cgroup_v2 = true;
    limits.cgroup_always_private = true;  // the groups above are the agent's, not the host's
    limits.architecture = this_host().architecture;
    limits.kernel_major = 6;
    limits.kernel_minor = 1;
    return limits;
  }();
  return guest;
}

std::vector<device> all_devices() {
  std::vector<device> found;
  collect("/dev", 0, found);
  return found;
}

result<std::vector<device>> gather_devices(const nlohmann::json& host_config) {
  std::vector<device> found;
  const auto& list = member(host_config, "Devices");
  if (!list.is_array()) return found;
  for (const auto& item : list) {
    const auto host_path = text(item, "PathOnHost");
    auto inside = text(item, "PathInContainer");
    auto access = text(item, "CgroupPermissions");
    if (inside.empty()) inside = host_path;
    if (access.empty()) access = "rwm";
    struct stat info {};
    const std::string where = "error gathering device information while adding custom device " + go_quote(host_path);
    if (stat(host_path.c_str(), &info) != 0) return fail(errc::internal, where + ": " + lower(strerror(errno)));
    device one;
    if (S_ISDIR(info.st_mode)) {
      std::vector<device> below;
      collect(host_path, 0, below);
      if (below.empty()) return fail(errc::internal, where + ": not a device node");
      for (auto& d : below) {
        d.path = inside + d.path.substr(host_path.size());
        d.access = access;
        found.push_back(std::move(d));
      }
    } else if (describe(host_path, one)) {
      one.path = inside;
      one.access = access;
      found.push_back(std::move(one));
    } else {
      return fail(errc::internal, where + ": not a device node");
    }
  }
  return found;
}

}  // namespace arca::oci
