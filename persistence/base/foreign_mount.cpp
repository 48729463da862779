#include "persistence/base/foreign_mount.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace arca {
namespace {

result<unique_fd> clone_here(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const unique_fd folder(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  if (!folder) return fail_errno("open " + path);
  unique_fd tree(
      static_cast<int>(syscall(SYS_open_tree, folder.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)));
  if (!tree) return fail_errno("clone of the mount at " + path);
  return tree;
}

}  // namespace

result<unique_fd> clone_foreign_mount(int mount_namespace, const std::string& path) {
  result<unique_fd> out = fail(errc::internal, "not done");
  // A namespace is a thread's own once it shares no root and working directory with others; this one never comes back.
  std::thread([&] {
    if (unshare(CLONE_FS) != 0)
      out = fail_errno("unshare");
    else if (setns(mount_namespace, CLONE_NEWNS) != 0)
      out = fail_errno("enter a mount namespace");
    else
      out = clone_here(path);
  }).join();
  return out;
}

}  // namespace arca
