#include "guest/native/terminal.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "guest/native/below.hpp"
#include "guest/native/root.hpp"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

namespace arca::guest::native {

bool open_terminal(int root, const process_plan& process, terminal& out, problem& why) {
  out.master = open_in_root(root, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
  struct statfs kind {};
  if (out.master && (fstatfs(out.master.get(), &kind) != 0 || kind.f_type != DEVPTS_SUPER_MAGIC)) {
    errno = ENODEV;
    out.master.reset();
  }
  if (!out.master) return why.say_errno({"open `/dev/pts/ptmx`"});
  const int unlocked = 0;
  if (ioctl(out.master.get(), TIOCSPTLCK, &unlocked) != 0) return why.say_errno({"unlock the terminal"});
  out.end.reset(ioctl(out.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!out.end) return why.say_errno({"open the terminal"});
  if (fchown(out.end.get(), process.uid, static_cast<gid_t>(-1)) != 0) return why.say_errno({"chown the terminal"});
  if (process.rows > 0 && process.columns > 0) {
    const winsize size{process.rows, process.columns, 0, 0};
    if (ioctl(out.master.get(), TIOCSWINSZ, &size) != 0) return why.say_errno({"set the size of the terminal"});
  }
  return true;
}

bool mount_console(int root, const terminal& of, problem& why) {
  const unique_fd tree(open_tree(of.end.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree) return why.say_errno({"mount `console` to `dev/console`"});
  return attach_tree(root, tree.get(), false, "/dev/console", "console", why);
}

bool take_terminal(const terminal& of, problem& why) {
  if (ioctl(of.end.get(), TIOCSCTTY, 0) != 0) return why.say_errno({"take the terminal"});
  for (int fd = 0; fd < 3; ++fd)
    if (dup2(of.end.get(), fd) < 0) return why.say_errno({"dup2 the terminal"});
  return true;
}

}  // namespace arca::guest::native
