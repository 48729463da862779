#include "guest/spawn.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace arca::guest {
namespace {

unique_fd read_only_image(const std::string& path) {
  unique_fd tree(open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return {};
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  if (mount_setattr(tree.get(), "", AT_EMPTY_PATH, &read_only, sizeof read_only) != 0) return {};
  return tree;
}

struct child_work {
  int in, out, err;
  int image;
  const char* path;
  char* const* argv;
  char* const* environment;
};

// Runs in the child, which shares our memory until execve: system calls only. Returns errno.
int become(const child_work& work) {
  if (dup2(work.in, 0) < 0 || dup2(work.out, 1) < 0 || dup2(work.err, 2) < 0) return errno;
  std::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (work.image >= 0)
    syscall(SYS_execveat, work.image, "", work.argv, work.environment, AT_EMPTY_PATH);
  else
    execve(work.path, work.argv, work.environment);
  return errno;
}
}  // namespace

program program::find(const std::string& name) {
  program found;
  for (const char* folder : {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    const std::string candidate = folder + name;
    if (access(candidate.c_str(), X_OK) != 0) continue;
    found.path_ = candidate;
    found.image_ = read_only_image(candidate);
    break;
  }
  return found;
}

result<pid_t> program::spawn(const std::vector<std::string>& arguments, int in, int out, int err) const {
  std::vector<char*> argv{const_cast<char*>(path_.c_str())};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  static char cloned[] = "_LIBCONTAINER_CLONED_BINARY=1";
  const std::array<char*, 3> environment{path, image_ ? cloned : nullptr, nullptr};
  const child_work work{in, out, err, image_.get(), path_.c_str(), argv.data(), environment.data()};
  // Written by the child in our memory. posix_spawn would do, but leaves the signals 32 and 33 ignored for good.
  volatile int failure = 0;
  const pid_t pid = vfork();
  if (pid == 0) {
    failure = become(work);
    _exit(127);
  }
  if (pid < 0) return fail_errno("start " + path_);
  if (failure != 0) return fail(errno_error("start " + path_, failure));  // the reaper collects it as a stray
  return pid;
}

}  // namespace arca::guest
