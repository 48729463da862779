#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "tools/arca/api_client.hpp"
#include "tools/arca/daemon.hpp"

extern char** environ;

namespace arca::cli {
namespace {
constexpr int start_limit_ms = 60'000;
constexpr int stop_limit_ms = 30'000;

/// The pid that the daemon wrote, if a process of that number still runs our program.
std::optional<pid_t> running_pid(const settings& config) {
  auto text = fs::read_file(pid_file(config), 64);
  if (!text) return std::nullopt;
  const auto pid = static_cast<pid_t>(std::atol(text->c_str()));
  if (pid <= 1) return std::nullopt;
  auto command = fs::read_file("/proc/" + std::to_string(pid) + "/cmdline", 1 << 16);
  if (!command || command->find("daemon") == std::string::npos) return std::nullopt;
  return pid;
}

bool answers(const settings& config) {
  const auto ping = api_client(config.socket_path).call("GET", "/_ping");
  return ping && ping->status == 200;
}

int open_pidfd(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

std::string log_file(const settings& config) {
  return config.data_root + "/daemon.log";
}
void show_end_of(const std::string& path) {
  std::string text(2000, '\0');
  const auto file = fs::open(path, O_RDONLY);
  if (!file) return;
  const auto size = ::lseek(file->get(), 0, SEEK_END);
  const auto n =
      ::pread(file->get(), text.data(), text.size(), std::max<off_t>(0, size - static_cast<off_t>(text.size())));
  std::fwrite(text.data(), 1, static_cast<size_t>(std::max<ssize_t>(n, 0)), stderr);
}

/// A daemon in the background logs for months: two files of some MiB are kept.
void rotate_log(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && st.st_size > (8 << 20)) ::rename(path.c_str(), (path + ".1").c_str());
}
}  // namespace

std::string pid_file(const settings& config) {
  return config.run_root + "/daemon.pid";
}

int start_in_background(const settings& config, const daemon_options& options) {
  if (answers(config)) {
    std::fprintf(stderr, "arca: a daemon already answers at %s\n", config.socket_path.c_str());
    return 1;
  }
  if (auto made = fs::make_dirs(config.data_root, 0711); !made) {
    std::fprintf(stderr, "arca: %s\n", made.error().message().c_str());
    return 1;
  }
  rotate_log(log_file(config));
  std::vector<std::string> words = {"arca", "daemon", "start", "--foreground"};
  for (auto& a : options.arguments()) words.push_back(std::move(a));
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log_file(config).c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int spawned = ::posix_spawn(&pid, "/proc/self/exe", &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (spawned != 0) {
    std::fprintf(stderr, "arca: cannot start the daemon: %s\n", std::strerror(spawned));
    return 1;
  }
  const unique_fd watch(open_pidfd(pid));
  for (int waited = 0; waited < start_limit_ms; waited += 20) {
    if (answers(config)) {
      std::printf("arca daemon runs with pid %d\nexport DOCKER_HOST=unix://%s\n", pid, config.socket_path.c_str());
      return 0;
    }
    pollfd ended{watch.get(), POLLIN, 0};
    if (::poll(&ended, 1, 20) > 0) break;
  }
  int status = 0;
  const bool gone = ::waitpid(pid, &status, WNOHANG) == pid;
  std::fprintf(stderr, "arca: the daemon %s; the end of %s:\n", gone ? "ended" : "does not answer",
               log_file(config).c_str());
  show_end_of(log_file(config));
  return 1;
}

int stop_daemon(const settings& config) {
  const auto pid = running_pid(config);
  if (!pid) {
    std::fprintf(stderr, "arca: no daemon runs (%s)\n", pid_file(config).c_str());
    return 1;
  }
  const unique_fd watch(open_pidfd(*pid));
  if (::kill(*pid, SIGTERM) != 0) {
    std::fprintf(stderr, "arca: cannot stop pid %d: %s\n", *pid, std::strerror(errno));
    return 1;
  }
  pollfd ended{watch.get(), POLLIN, 0};
  if (::poll(&ended, 1, stop_limit_ms) <= 0) {
    std::fprintf(stderr, "arca: pid %d did not end within %d s\n", *pid, stop_limit_ms / 1000);
    return 1;
  }
  std::printf("arca daemon stopped; running containers stay with their agents\n");
  return 0;
}

int show_status(const settings& config) {
  const auto version = api_client(config.socket_path).call("GET", "/version");
  if (!version || version->status != 200) {
    std::printf("no daemon answers at %s\n", config.socket_path.c_str());
    return 1;
  }
  const auto info = nlohmann::json::parse(version->body, nullptr, false);
  const auto pid = running_pid(config);
  std::printf("arca %s (API %s) answers at %s, pid %d\nexport DOCKER_HOST=unix://%s\n",
              info.is_object() ? info.value("Version", "?").c_str() : "?",
              info.is_object() ? info.value("ApiVersion", "?").c_str() : "?", config.socket_path.c_str(),
              pid.value_or(0), config.socket_path.c_str());
  return 0;
}

}  // namespace arca::cli
