#include "guest/native/cgroup_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "guest/cgroup.hpp"
#include "guest/native/device_rules.hpp"
#include "guest/native/limits.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest::native {
namespace {
const std::string root = "/sys/fs/cgroup";
constexpr int deepest = 32;

result<void> put(const std::string& file, std::string_view value) {
  unique_fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail_errno("open `" + file + '`');
  if (::write(fd.get(), value.data(), value.size()) < 0) return fail_errno("write to `" + file + '`');
  return {};
}

bool is_missing(const error& e) {
  return e.code() == errc::not_found;
}

// "cpu io memory" → "+cpu +io +memory"; a controller that refuses (realtime threads, say) must not take the others
// along.
void pass_controllers_down(const std::string& folder) {
  auto controllers = read_small(folder + "/cgroup.controllers");
  while (!controllers.empty() && controllers.back() == '\n') controllers.pop_back();
  for (const auto& name : split(controllers, ' '))
    if (!name.empty()) (void)put(folder + "/cgroup.subtree_control", '+' + name);
}

// A new cpuset is empty, and no process can be put into it.
void inherit_cpuset(const std::string& parent, const std::string& folder) {
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"})
    if (read_small(folder + file).find_first_not_of('\n') == std::string::npos)
      (void)put(folder + file, read_small(parent + file));
}

result<void> make_below(const std::string& top, const std::string& path, bool unified) {
  std::string folder = top;
  for (const auto& part : split(path, '/')) {
    if (part.empty()) continue;
    if (unified) pass_controllers_down(folder);
    const std::string parent = folder;
    folder += '/' + part;
    if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("mkdir `" + folder + '`');
    if (ends_with(top, "cpuset")) inherit_cpuset(parent, folder);
  }
  return {};
}
// A container may have made cgroups below its own.
void remove_below(const std::string& folder, int depth = 0) {
  if (rmdir(folder.c_str()) == 0 || errno == ENOENT || depth == deepest) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(folder.c_str()), closedir);
  while (const dirent* entry = list ? readdir(list.get()) : nullptr)
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') remove_below(folder + '/' + entry->d_name, depth + 1);
  rmdir(folder.c_str());
}
}  // namespace

const std::vector<hierarchy>& hierarchies() {
  static const std::vector<hierarchy> all = [] {
    std::vector<hierarchy> found;
    if (cgroup::unified()) return found;
    for (const auto& line : split(read_small("/proc/self/cgroup"), '\n')) {
      const auto parts = split(line, ':');
      if (parts.size() < 3 || parts[1].empty()) continue;
      auto name = starts_with(parts[1], "name=") ? parts[1].substr(5) : parts[1];
      auto folder = root + '/' + name;
      if (access((folder + "/cgroup.procs").c_str(), F_OK) == 0) found.push_back({std::move(name), std::move(folder)});
    }
    return found;
  }();
  return all;
}

result<cgroup_tree> cgroup_tree::make(const std::string& path) {
  ARCA_CHECK(cgroup::at(path).map([](auto&&) {}));
  cgroup_tree made;
  made.path_ = path;
  result<void> done;
  if (cgroup::unified()) done = make_below(root, path, true);
  for (const auto& each : hierarchies())
    if (done) done = make_below(each.folder, path, false);
  if (done && cgroup::unified()) {
    auto opened = fs::open(root + path, O_PATH | O_DIRECTORY);
    if (opened)
      made.folder_ = std::make_shared<const unique_fd>(std::move(*opened));
    else
      done = fail(opened.error());
  }
  if (done) return made;
  made.remove();
  return fail(done.error());
}

result<void> cgroup_tree::limit(const nlohmann::json& resources) const {
  const std::string own = root + path_;
  const bool unified = cgroup::unified();
  ARCA_TRY(writes,
           unified ? unified_limits(resources, [&](const std::string& file) { return read_small(own + '/' + file); })
                   : legacy_limits(resources));
  for (const auto& each : writes) {
    const std::string folder = unified ? own : root + '/' + each.controller + path_;
    const auto done = put(folder + '/' + each.file, each.value);
    if (done || each.failure == failed_write::is_fine) continue;
    if (each.failure == failed_write::is_fine_without_file && is_missing(done.error())) continue;
    return fail(done.error());
  }
  return {};
}

result<void> cgroup_tree::restrict_devices(const nlohmann::json& resources) const {
  ARCA_TRY(rules, device_rules(resources));
  if (rules.empty()) return {};
  if (cgroup::unified()) {
    ARCA_TRY(folder, fs::open(root + path_, O_RDONLY | O_DIRECTORY));
    return attach_device_program(folder.get(), rules);
  }
  for (const auto& rule : rules)
    ARCA_CHECK(put(root + "/devices" + path_ + (rule.allow ? "/devices.allow" : "/devices.deny"), legacy_line(rule)));
  return {};
}

result<unique_fd> cgroup_tree::open_folder(pid_t member) const {
  if (!cgroup::unified()) return unique_fd();
  unique_fd own(folder_ ? fcntl(folder_->get(), F_DUPFD_CLOEXEC, 3) : -1);
  if (!own) return fail_errno("open the cgroup's folder");
  struct stat info {};
  const bool has_folders = fstat(own.get(), &info) != 0 || info.st_nlink != 2;  // a link is of each folder in it
  if (member <= 0 || !has_folders || read_small(root + path_ + "/cgroup.subtree_control").size() <= 1)
    return std::move(own);
  const auto line = read_small("/proc/" + std::to_string(member) + "/cgroup");
  if (!starts_with(line, "0::" + path_ + '/')) return std::move(own);
  return fs::open(root + line.substr(3, line.find('\n') - 3), O_PATH | O_DIRECTORY);
}

result<std::vector<unique_fd>> cgroup_tree::open_procs() const {
  std::vector<unique_fd> out;
  for (const auto& each : hierarchies()) {
    ARCA_TRY(fd, fs::open(each.folder + path_ + "/cgroup.procs", O_WRONLY));
    out.push_back(std::move(fd));
  }
  return out;
}

void cgroup_tree::remove() const {
  if (path_.empty()) return;
  if (cgroup::unified()) remove_below(root + path_);
  for (const auto& each : hierarchies()) remove_below(each.folder + path_);
}

}  // namespace arca::guest::native
