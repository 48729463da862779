// How a container comes into namespaces of another one: through files of that one's first process.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "persistence/base/foreign_mount.hpp"
#include "vm/namespace/namespace_machine.hpp"
#include "vm/process.hpp"

namespace arca::vm {
namespace {

/// A process that was the init of a container in this machine when its files were opened.
struct open_init {
  unique_fd pidfd;
  std::string folder;  ///< /proc/PID

  result<unique_fd> open(const std::string& file) const {
    unique_fd opened(::open((folder + '/' + file).c_str(), O_RDONLY | O_CLOEXEC));
    if (!opened) return fail_errno("open " + folder + '/' + file);
    // The number may have been another's since.
    if (has_ended(pidfd.get())) return fail(errc::gone, "its first process has ended");
    return opened;
  }
};

/// Only a child of the container's own agent is its init, whatever has that number now.
result<open_init> init_of(const namespace_donor& donor) {
  ARCA_TRY(agent, open_process(donor.machine.pid, donor.machine.start_time));
  open_init out;
  out.folder = "/proc/" + std::to_string(donor.pid);
  out.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, donor.pid, 0)));
  if (donor.pid <= 0 || !out.pidfd) return fail(errc::gone, "its first process has ended");
  if (parent_of(static_cast<pid_t>(donor.pid)) != donor.machine.pid || has_ended(agent.get()))
    return fail(errc::gone, "its first process has ended");
  return out;
}

const char* file_of(const std::string& kind) {
  return kind == "network" ? "ns/net" : kind == "ipc" ? "ns/ipc" : "ns/pid";
}

}  // namespace

result<machine::joined_source> namespace_machine::join(const std::string& what, const namespace_donor& donor) {
  joined_source out;
  const auto joined = [&]() -> result<void> {
    ARCA_TRY(init, init_of(donor));
    ARCA_TRY(opened, init.open(what == "shm" ? "ns/mnt" : file_of(what)));
    out.held = std::move(opened);
    if (what != "shm") {
      out.path = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(out.held.get());
      return {};
    }
    ARCA_TRY(tree, clone_foreign_mount(out.held.get(), "/dev/shm"));
    ARCA_TRY(token, hand_over(tree.get(), "shm"));
    out.path = "/dev/shm";
    out.token = std::move(token);
    return {};
  }();
  if (!joined) return fail(joined.error().wrap("the namespaces of container " + donor.container + " cannot be joined"));
  return out;
}

}  // namespace arca::vm
