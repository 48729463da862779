#include "vm/cgroup.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <set>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {

void pause_ms(long ms) {
  const timespec t{ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&t, nullptr);
}

bool write_text(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const auto n = ::write(fd, text.data(), text.size());
  const int problem = errno;
  ::close(fd);
  errno = problem;
  return n == static_cast<ssize_t>(text.size());
}

/// Pseudo files: their size says nothing.
std::string read_text(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  char buffer[4096];
  while (fd && out.size() < (4u << 20)) {
    const auto n = ::read(fd.get(), buffer, sizeof buffer);
    if (n <= 0) break;
    out.append(buffer, static_cast<size_t>(n));
  }
  return out;
}

std::vector<std::string> folders_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), closedir);
  if (!dir) return names;
  while (const dirent* entry = readdir(dir.get()))
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  return names;
}

/// `visit` for every group below and including `folder`, the inner ones first.
template <class Visit>
void each_group(const std::string& folder, Visit visit, int depth = 0) {
  if (depth < 32)
    for (const auto& name : folders_in(folder)) each_group(folder + '/' + name, visit, depth + 1);
  visit(folder);
}

void collect(const std::string& folder, std::set<int64_t>& into) {
  each_group(folder, [&](const std::string& group) {
    const auto text = read_text(group + "/cgroup.procs");
    const char* at = text.data();
    const char* end = at + text.size();
    while (at < end) {
      int64_t pid = 0;
      const auto r = std::from_chars(at, end, pid);
      if (r.ec != std::errc{}) break;
      if (pid > 0) into.insert(pid);
      at = r.ptr + 1;
    }
  });
}

std::string unescape(std::string text) {  // mountinfo writes " " as \040
  for (size_t at = text.find('\\'); at != std::string::npos && at + 3 < text.size(); at = text.find('\\', at + 1)) {
    const auto code = (text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + (text[at + 3] - '0');
    text.replace(at, 4, 1, static_cast<char>(code));
  }
  return text;
}

}  // namespace

std::vector<cgroup_hierarchy> parse_cgroup_mounts(const std::string& mountinfo) {
  static const std::set<std::string> known = {"cpu",        "cpuacct", "cpuset", "memory",  "devices",
                                              "freezer",    "blkio",   "pids",   "net_cls", "net_prio",
                                              "perf_event", "hugetlb", "rdma",   "misc",    "name=systemd"};
  std::vector<cgroup_hierarchy> found;
  std::set<std::string> seen;
  for (const auto& line : split(mountinfo, '\n')) {
    // 31 23 0:28 /root /mount options [optional …] - type source super-options
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const auto front = split(line.substr(0, dash), ' ');
    const auto back = split(line.substr(dash + 3), ' ');
    if (front.size() < 6 || back.size() < 3) continue;
    cgroup_hierarchy h;
    h.mount_point = unescape(front[4]);
    if (!starts_with(h.mount_point, "/sys/fs/cgroup")) continue;
    if (back[0] == "cgroup2") {
      h.unified = true;
      h.controllers = {""};
    } else if (back[0] == "cgroup") {
      for (const auto& option : split(back[2], ','))
        if (known.contains(option)) h.controllers.push_back(option);
      if (h.controllers.empty()) continue;
    } else {
      continue;
    }
    if (seen.insert(h.controllers.front()).second) found.push_back(std::move(h));
  }
  return found;
}

namespace {
/// One group; true when it was not there before.
result<bool> make_group(const cgroup_hierarchy& h, const std::string& above, const std::string& at) {
  if (mkdir(at.c_str(), 0755) != 0) {
    if (errno != EEXIST) return fail_errno("mkdir " + at);
    return false;
  }
  if (std::find(h.controllers.begin(), h.controllers.end(), "cpuset") != h.controllers.end())
    // A new group has none, and refuses processes until it does.
    for (const auto* file : {"/cpuset.cpus", "/cpuset.mems"}) write_text(at + file, read_text(above + file));
  return true;
}
}  // namespace

cgroup_tree::cgroup_tree(std::vector<cgroup_hierarchy> hierarchies) : hierarchies_(std::move(hierarchies)) {
  const bool v1 = std::any_of(hierarchies_.begin(), hierarchies_.end(), [](const auto& h) { return !h.unified; });
  const bool v2 = std::any_of(hierarchies_.begin(), hierarchies_.end(), [](const auto& h) { return h.unified; });
  mode_ = !v1 ? cgroup_mode::v2 : v2 ? cgroup_mode::hybrid : cgroup_mode::v1;
}

const cgroup_tree& cgroup_tree::host() {
  static const cgroup_tree tree(parse_cgroup_mounts(read_text("/proc/self/mountinfo")));
  return tree;
}

std::string cgroup_tree::folder(const std::string& controller, const std::string& path) const {
  for (const auto& h : hierarchies_)
    if (std::find(h.controllers.begin(), h.controllers.end(), controller) != h.controllers.end())
      return h.mount_point + path;
  return {};
}

result<void> cgroup_tree::create_parent(const std::string& path) const {
  for (const auto& h : hierarchies_) {
    // On a hybrid host the v2 tree has no controllers: nothing is limited there, and crun does not use it.
    if (h.unified && mode_ != cgroup_mode::v2) continue;
    std::string at = h.mount_point;
    for (const auto& part : split(path, '/')) {
      if (part.empty()) continue;
      const auto above = at;
      at += '/' + part;
      ARCA_TRY(made, make_group(h, above, at));
      if (h.unified && made) {
        // One write each: a controller that is not there must not keep the others out.
        for (const auto& controller : split(read_text(above + "/cgroup.controllers"), ' ')) {
          const auto end = controller.find_last_not_of('\n');
          if (end != std::string::npos)
            write_text(above + "/cgroup.subtree_control", '+' + controller.substr(0, end + 1));
        }
      }
    }
    if (h.unified)
      for (const auto& controller : split(read_text(at + "/cgroup.controllers"), ' ')) {
        const auto end = controller.find_last_not_of('\n');
        if (end != std::string::npos) write_text(at + "/cgroup.subtree_control", '+' + controller.substr(0, end + 1));
      }
  }
  return {};
}

result<std::vector<unique_fd>> cgroup_tree::create_leaf(const std::string& path) const {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos || slash + 1 == path.size())
    return fail(errc::invalid_argument, "invalid cgroup path " + path);
  const auto parent = path.substr(0, slash);
  if (!parent.empty()) ARCA_CHECK(create_parent(parent));
  std::vector<unique_fd> members;
  for (const auto& h : hierarchies_) {
    if (h.unified && mode_ != cgroup_mode::v2) continue;
    const auto at = h.mount_point + path;
    ARCA_TRY(made, make_group(h, h.mount_point + parent, at));
    (void)made;
    ARCA_TRY(file, fs::open(at + "/cgroup.procs", O_WRONLY));
    members.push_back(std::move(file));
  }
  return members;
}

std::vector<int64_t> cgroup_tree::processes(const std::string& path) const {
  std::set<int64_t> pids;
  const char* first = mode_ == cgroup_mode::v2 ? "" : "pids";
  auto where = folder(first, path);
  if (where.empty()) where = folder("memory", path);
  if (!where.empty()) collect(where, pids);
  return {pids.begin(), pids.end()};
}

result<bool> cgroup_tree::kill(const std::string& path) const {
  if (mode_ == cgroup_mode::v2) {
    const auto where = folder("", path);
    const bool some = !processes(path).empty();
    if (write_text(where + "/cgroup.kill", "1")) return some;
    if (errno == ENOENT && access(where.c_str(), F_OK) != 0) return false;
  }
  bool any = false;
  // Frozen processes cannot fork away from the list; SIGKILL takes effect at the thaw (v1) or at once (v2).
  for (int round = 0; round < 50; ++round) {
    const auto pids = processes(path);
    if (pids.empty()) return any;
    any = true;
    (void)freeze(path, true);
    for (const auto pid : processes(path)) ::kill(static_cast<pid_t>(pid), SIGKILL);
    (void)freeze(path, false);
    pause_ms(round < 5 ? 1 : 5);
  }
  return any;
}

result<void> cgroup_tree::freeze(const std::string& path, bool frozen) const {
  if (mode_ == cgroup_mode::v2) {
    if (!write_text(folder("", path) + "/cgroup.freeze", frozen ? "1" : "0")) return fail_errno("freeze " + path);
    return {};
  }
  const auto where = folder("freezer", path);
  if (where.empty()) return fail(errc::unsupported, "this host has no freezer cgroup");
  const char* wanted = frozen ? "FROZEN" : "THAWED";
  for (int attempt = 0; attempt < 500; ++attempt) {
    if (!write_text(where + "/freezer.state", wanted)) return fail_errno("freeze " + path);
    if (starts_with(read_text(where + "/freezer.state"), wanted)) return {};
    pause_ms(attempt < 20 ? 1 : 5);  // FREEZING: some process is in the kernel
  }
  return fail(errc::timeout, "freeze " + path + ": the processes do not stop");
}

result<void> cgroup_tree::remove(const std::string& path, int patience_ms) const {
  if (path.empty() || path == "/") return fail(errc::invalid_argument, "the root cgroup cannot be removed");
  int problem = 0;
  for (int waited = 0;; waited += 5) {
    problem = 0;
    for (const auto& h : hierarchies_) {
      const auto where = h.mount_point + path;
      if (rmdir(where.c_str()) == 0 || errno == ENOENT) continue;
      each_group(where, [&](const std::string& group) {
        if (rmdir(group.c_str()) != 0 && errno != ENOENT) problem = errno;
      });
    }
    if (problem == 0) return {};
    if (waited >= patience_ms) break;
    pause_ms(5);
  }
  return fail(errno_error("remove cgroup " + path, problem));
}

void cgroup_tree::remove_if_empty(const std::string& path) const {
  if (path.empty() || path == "/") return;
  for (const auto& h : hierarchies_) rmdir((h.mount_point + path).c_str());
}

std::vector<std::string> cgroup_tree::children(const std::string& path) const {
  std::set<std::string> names;
  for (const auto& h : hierarchies_)
    for (auto& name : folders_in(h.mount_point + path)) names.insert(std::move(name));
  return {names.begin(), names.end()};
}

}  // namespace arca::vm
