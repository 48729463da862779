#include "actors/model/host_facts.hpp"

#include <sched.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/magic.h>

#include <algorithm>
#include <map>
#include <set>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

std::string read_line(const std::string& path) {
  auto text = fs::read_file(path, 1 << 20);
  if (!text) return {};
  while (!text->empty() && (text->back() == '\n' || text->back() == ' ')) text->pop_back();
  return *text;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

std::map<std::string, std::string> os_release() {
  std::map<std::string, std::string> out;
  auto text = fs::read_file("/etc/os-release", 1 << 16);
  if (!text) text = fs::read_file("/usr/lib/os-release", 1 << 16);
  if (!text) return out;
  for (const auto& line : split(*text, '\n')) {
    const auto equals = line.find('=');
    if (equals == std::string::npos || line[0] == '#') continue;
    auto value = line.substr(equals + 1);
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    out[line.substr(0, equals)] = value;
  }
  return out;
}

// Where the v1 controllers are mounted: "memory" → "/sys/fs/cgroup/memory".
std::map<std::string, std::string> controllers_v1() {
  std::map<std::string, std::string> out;
  const auto mounts = fs::read_file("/proc/self/mounts", 4 << 20);
  if (!mounts) return out;
  for (const auto& line : split(*mounts, '\n')) {
    const auto words = split(line, ' ');
    if (words.size() < 4 || words[2] != "cgroup") continue;
    for (const auto& option : split(words[3], ',')) out.emplace(option, words[1]);
  }
  return out;
}

void read_cgroup_v1(host_facts& f) {
  const auto controllers = controllers_v1();
  const auto has = [&](const char* controller, const char* file) {
    const auto found = controllers.find(controller);
    return found != controllers.end() && exists(found->second + "/" + file);
  };
  f.memory_limit = has("memory", "memory.limit_in_bytes");
  f.swap_limit = has("memory", "memory.memsw.limit_in_bytes");
  f.memory_reservation = has("memory", "memory.soft_limit_in_bytes");
  f.memory_swappiness = has("memory", "memory.swappiness");
  f.kernel_memory_tcp = has("memory", "memory.kmem.tcp.limit_in_bytes");
  f.oom_kill_disable = has("memory", "memory.oom_control");
  f.cpu_shares = has("cpu", "cpu.shares");
  // The root group has no quota files on some kernels; a child's are what counts.
  f.cpu_cfs = has("cpu", "cpu.cfs_quota_us") || f.cpu_shares;
  f.cpu_realtime = has("cpu", "cpu.rt_runtime_us");
  f.cpuset = has("cpuset", "cpuset.cpus");
  f.pids_limit = controllers.count("pids") > 0;
  f.blkio_weight = has("blkio", "blkio.weight");
  f.blkio_weight_device = has("blkio", "blkio.weight_device");
  f.blkio_throttle = has("blkio", "blkio.throttle.read_bps_device");
  if (f.cpuset) {
    f.cpu_list = read_line(controllers.at("cpuset") + "/cpuset.cpus");
    f.mem_nodes = read_line(controllers.at("cpuset") + "/cpuset.mems");
  }
}

void read_cgroup_v2(host_facts& f) {
  const auto words = split(read_line("/sys/fs/cgroup/cgroup.controllers"), ' ');
  const std::set<std::string> on(words.begin(), words.end());
  f.memory_limit = f.swap_limit = f.memory_reservation = on.count("memory") > 0;
  f.memory_swappiness = f.kernel_memory_tcp = f.oom_kill_disable = f.cpu_realtime = false;
  f.cpu_shares = f.cpu_cfs = on.count("cpu") > 0;
  f.cpuset = on.count("cpuset") > 0;
  f.pids_limit = on.count("pids") > 0;
  f.blkio_weight = f.blkio_weight_device = f.blkio_throttle = on.count("io") > 0;
  f.cpu_list = read_line("/sys/fs/cgroup/cpuset.cpus.effective");
  f.mem_nodes = read_line("/sys/fs/cgroup/cpuset.mems.effective");
}

}  // namespace

host_facts gather_host_facts() {
  host_facts f;
  utsname uts{};
  if (::uname(&uts) == 0) {
    f.kernel_version = uts.release;
    f.machine = uts.machine;
    f.hostname = uts.nodename;
  }
  f.architecture = f.machine == "x86_64" ? "amd64" : f.machine == "aarch64" ? "arm64" : f.machine;
  auto release = os_release();
  f.operating_system = release.count("PRETTY_NAME") > 0 ? release["PRETTY_NAME"] : "Linux";
  f.os_version = release["VERSION_ID"];
  struct sysinfo memory {};
  if (::sysinfo(&memory) == 0) f.mem_total = static_cast<int64_t>(memory.totalram) * memory.mem_unit;
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) f.cpus = std::max(1, CPU_COUNT(&set));
  struct statfs root {};
  f.cgroup_version = ::statfs("/sys/fs/cgroup", &root) == 0 && root.f_type == CGROUP2_SUPER_MAGIC ? 2 : 1;
  if (f.cgroup_version == 2)
    read_cgroup_v2(f);
  else
    read_cgroup_v1(f);
  if (f.cpu_list.empty()) f.cpu_list = read_line("/sys/devices/system/cpu/online");
  if (f.mem_nodes.empty()) f.mem_nodes = "0";
  f.cgroup_namespaces = exists("/proc/self/ns/cgroup");
  f.ipv4_forwarding = read_line("/proc/sys/net/ipv4/ip_forward") == "1";
  f.seccomp = exists("/proc/sys/kernel/seccomp/actions_avail");
  f.apparmor = read_line("/sys/module/apparmor/parameters/enabled") == "Y";
  return f;
}

const host_facts& this_host() {
  static const host_facts facts = gather_host_facts();
  return facts;
}

}  // namespace arca::model
