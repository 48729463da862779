#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
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

int open_pidfd(pid_t pid) { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); }

std::string log_file(const settings& config) { return config.data_root + "/daemon.log"; }
}  // namespace

std::string pid_file(const settings& config) { return config.run_root + "/daemon.pid"; }

int start_in_background(const settings& config, const daemon_options& options) {
  if (answers(config)) {
    std::fprintf(stderr, "arca: a daemon already answers at %s\n", config.socket_path.c_str());
    return 1;
  }
  if (auto made = fs::make_dirs(config.data_root, 0711); !made) {
    std::fprintf(stderr, "arca: %s\n", made.error().message().c_str());
    return 1;
  }
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
  std::fprintf(stderr, "arca: the daemon %s; the end of %s:\n", gone ? "ended" : "does not answer", log_file(config).c_str());
  if (auto text = fs::read_file(log_file(config), 256u << 20))
    std::fputs(text->substr(text->size() > 2000 ? text->size() - 2000 : 0).c_str(), stderr);
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
              info.is_object() ? info.value("ApiVersion", "?").c_str() : "?", config.socket_path.c_str(), pid.value_or(0),
              config.socket_path.c_str());
  return 0;
}

}  // namespace arca::cli
