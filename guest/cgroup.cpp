#include "guest/cgroup.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/vfs.h>

#include <csignal>
#include <cstdlib>
#include <memory>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
const std::string root = "/sys/fs/cgroup";
constexpr size_t most_processes = 65536;
constexpr int deepest = 32;

void add_processes(const std::string& folder, std::vector<pid_t>& into, int depth) {
  const auto text = fs::read_file(folder + "/cgroup.procs", 1u << 20);
  if (text) {
    const char* at = text->c_str();
    for (char* end = nullptr; into.size() < most_processes; at = end) {
      const long pid = std::strtol(at, &end, 10);
      if (end == at) break;
      if (pid > 0) into.push_back(static_cast<pid_t>(pid));
    }
  }
  if (depth == deepest) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> list(opendir(folder.c_str()), closedir);
  while (const dirent* entry = list ? readdir(list.get()) : nullptr) {
    if (into.size() >= most_processes) return;
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
      add_processes(folder + '/' + entry->d_name, into, depth + 1);
  }
}

result<void> put(const std::string& file, std::string_view value) {
  ARCA_TRY(fd, fs::open(file, O_WRONLY));
  if (auto written = fs::write_all(fd.get(), value); !written) return fail(written.error().wrap(file));
  return {};
}
}  // namespace

std::string read_small(const std::string& path) {
  char text[16384];
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t n = file ? ::read(file.get(), text, sizeof text) : 0;
  return {text, n > 0 ? static_cast<size_t>(n) : 0};
}

uint64_t keyed_number(const std::string& text, const std::string& key, uint64_t otherwise) {
  for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + 1)) {
    const size_t after = at + key.size();
    if ((at == 0 || text[at - 1] == '\n') && after < text.size() && text[after] == ' ')
      return std::strtoull(text.c_str() + after, nullptr, 10);
  }
  return otherwise;
}

bool cgroup::unified() {
  static const bool answer = [] {
    struct statfs info {};
    return statfs(root.c_str(), &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
  }();
  return answer;
}

result<cgroup> cgroup::at(const std::string& path) {
  if (path.size() < 2 || path.front() != '/' || path.size() > 3000 || path.find('\0') != std::string::npos)
    return fail(errc::invalid_argument, "cgroup path " + go_quote(path) + " is not an absolute path below the root");
  for (const auto& part : split(path, '/'))
    if (part == "..") return fail(errc::invalid_argument, "cgroup path " + go_quote(path) + " climbs up");
  cgroup made;
  made.path_ = path;
  return made;
}

std::string cgroup::folder(const char* controller) const {
  return unified() ? root + path_ : root + '/' + controller + path_;
}

std::vector<pid_t> cgroup::processes() const {
  std::vector<pid_t> found;
  if (!path_.empty()) add_processes(folder("freezer"), found, 0);
  return found;
}

result<void> cgroup::freeze(bool frozen) const {
  if (unified()) return put(folder("") + "/cgroup.freeze", frozen ? "1" : "0");
  return put(folder("freezer") + "/freezer.state", frozen ? "FROZEN" : "THAWED");
}

unique_fd cgroup::open_freezer() const {
  if (path_.empty()) return {};
  const auto file = unified() ? folder("") + "/cgroup.freeze" : folder("freezer") + "/freezer.state";
  return unique_fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
}

bool cgroup::freezes(const unique_fd& freezer) {
  char word = 0;  // 0, 1; THAWED, FREEZING, FROZEN
  return freezer && pread(freezer.get(), &word, 1, 0) == 1 && (word == '1' || word == 'F');
}

freeze_state cgroup::state() const {
  if (path_.empty()) return freeze_state::thawed;
  if (unified()) {
    if (keyed_number(read_small(folder("") + "/cgroup.events"), "frozen") == 1) return freeze_state::frozen;
    return starts_with(read_small(folder("") + "/cgroup.freeze"), "1") ? freeze_state::freezing : freeze_state::thawed;
  }
  const std::string text = read_small(folder("freezer") + "/freezer.state");
  if (starts_with(text, "FROZEN")) return freeze_state::frozen;
  return starts_with(text, "FREEZING") ? freeze_state::freezing : freeze_state::thawed;
}

void cgroup::signal_all(int signal) const {
  for (const pid_t pid : processes()) kill(pid, signal);
}

void cgroup::kill_all() const {
  if (path_.empty()) return;
  if (unified() && put(folder("") + "/cgroup.kill", "1")) return;
  // v1 has no cgroup.kill: what is frozen cannot fork away from the round.
  const auto held = freeze(true);
  for (int round = 0; round < 8; ++round) {
    const auto pids = processes();
    if (pids.empty()) break;
    for (const pid_t pid : pids) kill(pid, SIGKILL);
    if (state() == freeze_state::frozen) break;
  }
  if (held) (void)freeze(false);
}

uint64_t cgroup::oom_kills() const {
  if (path_.empty()) return 0;
  return keyed_number(read_small(folder("memory") + (unified() ? "/memory.events" : "/memory.oom_control")),
                      "oom_kill");
}

unique_fd cgroup::watch_oom() const {
  if (path_.empty()) return {};
  if (unified()) {
    unique_fd notify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!notify || inotify_add_watch(notify.get(), (folder("") + "/memory.events").c_str(), IN_MODIFY) < 0) return {};
    return notify;
  }
  unique_fd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const unique_fd control(::open((folder("memory") + "/memory.oom_control").c_str(), O_RDONLY | O_CLOEXEC));
  if (!event || !control) return {};
  const std::string line = std::to_string(event.get()) + ' ' + std::to_string(control.get());
  if (!put(folder("memory") + "/cgroup.event_control", line)) return {};
  return event;
}

}  // namespace arca::guest
