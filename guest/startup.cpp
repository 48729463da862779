#include "guest/startup.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "guest/cgroup.hpp"
#include "guest/net_config.hpp"
#include "persistence/base/failpoint.hpp"

namespace arca::guest {

void drop_inheritance(int keep_fd) {
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd)
    if (fd != null) dup2(null, fd);
  if (keep_fd < 3) {
    close_range(3, ~0U, 0);
  } else {
    if (keep_fd > 3) close_range(3, static_cast<unsigned>(keep_fd) - 1, 0);
    close_range(static_cast<unsigned>(keep_fd) + 1, ~0U, 0);
    fcntl(keep_fd, F_SETFD, FD_CLOEXEC);
  }
  failpoint::reached("agent-start");  // reads the wish, which goes with the environment
  clearenv();
}

void become_supervisor() {
  setsid();
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  for (int number = 1; number < NSIG; ++number) std::signal(number, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t all;
  sigfillset(&all);
  for (const int fatal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, fatal);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  umask(0022);  // crun inherits it: mount points that it makes must be open to the container's user
}

void be_small(int spare) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_TRIM_THRESHOLD, spare);
  mallopt(M_MMAP_THRESHOLD, spare);
  pthread_attr_t threads;
  pthread_attr_init(&threads);
  pthread_attr_setstacksize(&threads, 256 << 10);
  pthread_setattr_default_np(&threads);
  pthread_attr_destroy(&threads);
}

void be_patient() {
  const sched_param none{};
  sched_setscheduler(0, SCHED_BATCH, &none);
}

result<void> isolate(bool host_network) {
  if (unshare(CLONE_NEWNS | (host_network ? 0 : CLONE_NEWNET)) != 0) return fail_errno("unshare");
  if (::mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) != 0) return fail_errno("make mounts slaves");
  // crun refuses a hybrid host; it looks for a v2 mount beside the v1 ones.
  if (!cgroup::unified()) umount2("/sys/fs/cgroup/unified", MNT_DETACH);
  return host_network ? result<void>{} : bring_up_loopback();
}

result<unique_fd> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(errc::invalid_argument, path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  unlink(path.c_str());
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made || bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(made.get(), 64) != 0)
    return fail_errno("listen at " + path);
  return made;
}

}  // namespace arca::guest
