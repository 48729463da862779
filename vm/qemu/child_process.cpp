#include "vm/qemu/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "vm/process.hpp"

namespace arca::vm {
namespace {

/// What the child needs, in memory that it shares with us until execve.
struct child_work {
  char* const* argv;
  char* const* environment;
  const int* descriptors;
  size_t descriptor_count;
  int null, output;
  const int* cgroups;
  size_t cgroup_count;
  uint32_t user, group;
  uint64_t open_files;
  const child_plan::mount* mounts;
  size_t mount_count;
};

struct child_failure {
  volatile int number = 0;
  const char* volatile step = "";
};

/// Handlers of the daemon must not run in its memory when the mask is opened below, and what it ignores (SIGPIPE) is
/// not the program's business. Two signals are glibc's own and refused: they have its handlers, which execve resets.
void default_signals() {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  for (int number = 1; number < 65; ++number) sigaction(number, &plain, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool place_descriptors(const child_work& work) {
  // All of them out of the way first: a source may have the number of another's target.
  constexpr int free_from = 256;
  const int last = 3 + static_cast<int>(work.descriptor_count) - 1;
  int aside[16];
  const int output = fcntl(work.output, F_DUPFD, free_from);
  const int null = fcntl(work.null, F_DUPFD, free_from);
  if (output < 0 || null < 0) return false;
  for (size_t i = 0; i < work.descriptor_count; ++i)
    if ((aside[i] = fcntl(work.descriptors[i], F_DUPFD, free_from)) < 0) return false;
  if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) return false;
  for (size_t i = 0; i < work.descriptor_count; ++i)
    if (dup2(aside[i], 3 + static_cast<int>(i)) < 0) return false;
  return syscall(SYS_close_range, last + 1, ~0u, 0) == 0;
}

/// Runs in the child, which shares our memory until execve: system calls only, and those by number that glibc would
/// carry out in every thread of the process (setuid and its relatives).
void become(const child_work& work, child_failure& failure) {
  const auto failed = [&](const char* step) {
    failure.number = errno;
    failure.step = step;
  };
  setsid();
  for (size_t i = 0; i < work.cgroup_count; ++i)
    if (::write(work.cgroups[i], "0", 1) != 1) return failed("join its cgroup");
  if (work.mount_count > 0) {
    if (unshare(CLONE_NEWNS) != 0) return failed("make a mount namespace");
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("keep mounts to itself");
    for (size_t i = 0; i < work.mount_count; ++i) {
      const auto* target = work.mounts[i].target.c_str();
      if (syscall(SYS_move_mount, work.mounts[i].tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) != 0)
        return failed("attach a mount");
      // A clone is a peer of the shared mount that it was made of: what is attached to it would appear there.
      if (::mount(nullptr, target, nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return failed("keep a mount to itself");
    }
  }
  if (work.open_files > 0) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < work.open_files) limit.rlim_max = work.open_files;  // root may
    limit.rlim_cur = work.open_files;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
      getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = limit.rlim_max;
      setrlimit(RLIMIT_NOFILE, &limit);
    }
  }
  if (!place_descriptors(work)) return failed("pass descriptors");
  if (work.user != 0 && (syscall(SYS_setgroups, work.group != 0 ? 1 : 0, &work.group) != 0 ||
                         syscall(SYS_setresgid, work.user, work.user, work.user) != 0 ||
                         syscall(SYS_setresuid, work.user, work.user, work.user) != 0))
    return failed("become its user");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return failed("give up privileges");
  if (chdir("/") != 0) return failed("chdir");
  default_signals();
  execve(work.argv[0], work.argv, work.environment);
  failed("execute");
}

/// The descriptors 3, 4, … would be overwritten while they are needed as sources: bounded, so that they fit aside.
constexpr size_t most_descriptors = 16;

}  // namespace

result<child_process> start_child(const child_plan& plan) {
  if (plan.argv.empty() || plan.descriptors.size() > most_descriptors)
    return fail(errc::invalid_argument, "a child needs a program and at most 16 descriptors");
  const unique_fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return fail_errno("open /dev/null");
  std::vector<char*> argv;
  for (const auto& word : plan.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  const std::array<char*, 2> environment{path, nullptr};
  const child_work work{argv.data(),
                        environment.data(),
                        plan.descriptors.data(),
                        plan.descriptors.size(),
                        null.get(),
                        plan.output >= 0 ? plan.output : null.get(),
                        plan.cgroups.data(),
                        plan.cgroups.size(),
                        plan.user,
                        plan.group,
                        plan.open_files,
                        plan.mounts.data(),
                        plan.mounts.size()};
  child_failure failure;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  // A child that changes its user takes the memory's dumpable flag with it (the kernel's care for exactly this case);
  // it is ours again after execve.
  const int dumpable = prctl(PR_GET_DUMPABLE);
  const pid_t pid = vfork();
  if (pid == 0) {
    become(work, failure);
    _exit(127);
  }
  const int problem = errno;
  if (plan.user != 0 && dumpable == 1) prctl(PR_SET_DUMPABLE, 1);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail(errno_error("start " + plan.argv[0], problem));
  if (failure.number != 0) {
    waitpid(pid, nullptr, 0);
    return fail(errno_error("start " + plan.argv[0] + ": " + failure.step, failure.number));
  }
  // Nobody else collects our children, so the pid cannot have been used again.
  child_process child;
  child.pid = pid;
  child.start_time = start_time_of(pid);
  child.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!child.pidfd) {
    const int number = errno;
    ::kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return fail(errno_error("pidfd_open", number));
  }
  return child;
}

result<std::string> output_of(const std::vector<std::string>& argv, int limit_ms) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  const unique_fd out(ends[0]);
  unique_fd in(ends[1]);
  child_plan plan;
  plan.argv = argv;
  plan.output = in.get();
  ARCA_TRY(child, start_child(plan));
  in.reset();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
  std::string text;
  while (text.size() < (64u << 10)) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd ready{out.get(), POLLIN, 0};
    if (left <= 0 || poll(&ready, 1, static_cast<int>(left)) <= 0) break;
    char buffer[4096];
    const auto n = ::read(out.get(), buffer, sizeof buffer);
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  if (!wait_for_end(child.pidfd.get(), 100)) {
    send_signal(child.pidfd.get(), SIGKILL);
    wait_for_end(child.pidfd.get(), 1000);
  }
  return text;
}

}  // namespace arca::vm
