#include "tools/arca/daemon.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <caf/all.hpp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "actors/engine.hpp"
#include "actors/model/log_options.hpp"
#include "http/listener.hpp"
#include "http/server.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"

#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#endif

namespace arca::cli {
namespace {
constexpr int shutdown_limit = 10;  // seconds from SIGTERM to gone

class actor_config : public caf::actor_system_config {
 public:
  actor_config() {
    engine::register_messages(*this);
    set("scheduler.policy", caf::atom("sharing"));  // stealing burns idle CPU
    set("scheduler.max-threads", std::max<size_t>(2, std::thread::hardware_concurrency()));
    set("scheduler.max-throughput", size_t{50});
  }
};

/// systemd's readiness protocol (sd_notify(3)): one datagram to the socket it names. Nothing without it.
void notify_systemd(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == '\0') return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd)
    ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

void prepare_process() {
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(0022);
  if (::chdir("/") != 0) log::warn("the working folder stays as it is", log::kv("errno", errno));
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  // Few arenas and an early trim: the daemon has many threads that allocate little.
  ::mallopt(M_ARENA_MAX, 2);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

int failed(const error& why) {
  std::fprintf(stderr, "arca: %s\n", why.message().c_str());
  return 1;
}
}  // namespace

int run_daemon(const settings& config) {
  prepare_process();
  if (auto configured =
          log::configure(config.log_level, config.log_format == "json" ? log::format::json : log::format::text);
      !configured)
    return failed(configured.error());
  // Blocked in every thread from here on; this thread alone waits for them.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  if (auto usable = model::check_default_log_options(config.log_driver, config.log_opts); !usable)
    return failed(usable.error().wrap("failed to start daemon"));
  auto listeners = http::listeners_of(config);
  if (!listeners) return failed(listeners.error());
  actor_config caf_config;
  caf::actor_system system(caf_config);
  auto started = engine::start(system, config);
  if (!started) return failed(started.error());
  auto& running = **started;
  auto server = http::server::start(running, *listeners);
  if (!server) {
    running.stop();
    return failed(server.error());
  }
  if (auto written = fs::write_file_atomic(pid_file(config), std::to_string(::getpid()) + "\n", 0644); !written)
    log::warn("pid file not written", log::kv("reason", written.error().message()));
  log::info("arca answers", log::kv("socket", config.socket_path), log::kv("pid", ::getpid()));
  notify_systemd("READY=1\nMAINPID=" + std::to_string(::getpid()));

  int signal = 0;
  while (::sigwait(&ends, &signal) == 0 && signal == SIGHUP)  // Docker's daemon reads its settings again then
    log::warn("SIGHUP is ignored: settings are read when the daemon starts");
  log::info("stopping", log::kv("signal", signal));
  notify_systemd("STOPPING=1");
  // A detached actor that is stuck in fsync keeps ~actor_system waiting: everything is flushed by then, so leave.
  const int limit = shutdown_limit + (config.stop_containers_on_exit ? config.shutdown_timeout : 0);
  std::thread([limit] {
    std::this_thread::sleep_for(std::chrono::milliseconds(limit * 1000 - 500));
    ::_exit(0);
  }).detach();
  (*server)->stop(std::chrono::seconds(3));
  running.stop();
  ::unlink(pid_file(config).c_str());
  server->reset();
  system.await_all_actors_done();
  started->reset();
  log::info("stopped");
  ::fflush(nullptr);
#if __has_feature(address_sanitizer)
  __lsan_do_leak_check();  // _exit would skip it
#endif
  ::_exit(0);
}

}  // namespace arca::cli
