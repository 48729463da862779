// arca-guest: see guest/proto/start.hpp for how it is started and guest/agent.hpp for what it is.
#include <malloc.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include "guest/agent.hpp"
#include "guest/agent_log.hpp"
#include "guest/agent_service.hpp"
#include "guest/crun_launcher.hpp"
#include "guest/native_launcher.hpp"
#include "guest/proto/start.hpp"
#include "guest/startup.hpp"

namespace {
using namespace arca;
using namespace arca::guest;

struct arguments {
  std::string machine_dir;
  int pool_fd = -1;
  bool host_network = false;
  bool native_launcher = false;
};

bool parse(int argc, char** argv, arguments& into) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (flag == guest_start::flag_host_network) {
      into.host_network = true;
    } else if (flag == guest_start::flag_machine_dir && value) {
      into.machine_dir = value;
      ++i;
    } else if (flag == guest_start::flag_pool_fd && value) {
      char* end = nullptr;
      const long number = std::strtol(value, &end, 10);
      if (*value == '\0' || *end != '\0' || number < 3 || number > 1 << 20) return false;
      into.pool_fd = static_cast<int>(number);
      ++i;
    } else if (flag == guest_start::flag_launcher && value) {
      into.native_launcher = value == std::string(guest_start::launcher_native);
      if (!into.native_launcher && value != std::string(guest_start::launcher_crun)) return false;
      ++i;
    } else {
      return false;
    }
  }
  return !into.machine_dir.empty() && into.machine_dir.front() == '/' &&
         into.machine_dir.size() <= guest_start::max_machine_dir;
}

// Fifty of these run at once: one heap for all threads, given back early, and small stacks.
void be_small() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, 64 << 10);
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
  pthread_attr_t threads;
  pthread_attr_init(&threads);
  pthread_attr_setstacksize(&threads, 256 << 10);
  pthread_setattr_default_np(&threads);
  pthread_attr_destroy(&threads);
}

int serve(const arguments& given) {
  if (auto done = isolate(given.host_network); !done) {
    log().write(done.error().message());
    return 1;
  }
  auto calls = listen_unix(given.machine_dir + '/' + guest_start::agent_socket);
  auto bytes = listen_unix(given.machine_dir + '/' + guest_start::stdio_socket);
  if (!calls || !bytes) {
    log().write((calls ? bytes : calls).error().message());
    return 1;
  }
  loop main_loop;
  unique_fd pool(given.pool_fd);
  agent_setup setup;
  setup.machine_dir = given.machine_dir;
  setup.host_network = given.host_network;
  setup.stdio_listener = std::move(*bytes);
  setup.assigned = [&] {
    if (!pool) return;
    main_loop.forget(pool.get());
    pool.reset();
  };
  const auto make_launcher = [&](loop& on, reaper& children, const std::string& folder) -> std::unique_ptr<launcher> {
    if (given.native_launcher) return std::make_unique<native_launcher>(on, children, folder);
    return std::make_unique<crun_launcher>(on, children, folder);
  };
  agent what(main_loop, std::move(setup), make_launcher);
  const agent_service service(main_loop, what, std::move(*calls), [&] { main_loop.stop(0); });

  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  const unique_fd asked(signalfd(-1, &terminate, SFD_CLOEXEC | SFD_NONBLOCK));
  main_loop.watch(asked.get(), EPOLLIN, [&](uint32_t) {
    main_loop.forget(asked.get());
    what.shutdown([&] { main_loop.stop(0); });
  });
  if (pool) {
    (void)!write(pool.get(), &guest_start::ready, 1);
    main_loop.watch(pool.get(), EPOLLIN | EPOLLRDHUP, [&](uint32_t events) {
      char ignored[64];
      const bool over = read(pool.get(), ignored, sizeof ignored) <= 0;
      if (over || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) main_loop.stop(0);
    });
  }
  const int status = main_loop.run();
  // Threads of gRPC are running: no destructors, the kernel takes everything back.
  _exit(status);
}
}  // namespace

int main(int argc, char** argv) {
  arguments given;
  if (!parse(argc, argv, given)) {
    const std::string usage = std::string("usage: arca-guest ") + guest_start::flag_machine_dir + " DIR [" +
                              guest_start::flag_pool_fd + " N] [" + guest_start::flag_host_network + "] [" +
                              guest_start::flag_launcher + " crun|native]\n";
    (void)!write(2, usage.data(), usage.size());
    return 1;
  }
  drop_inheritance(given.pool_fd);
  become_supervisor();
  be_small();
  log().open(given.machine_dir + '/' + guest_start::log_file);
  return serve(given);
}
