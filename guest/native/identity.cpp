#include "guest/native/identity.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <climits>
#include <csignal>

namespace arca::guest::native {
namespace {
constexpr uint64_t bit(int capability) {
  return uint64_t{1} << capability;
}

bool set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct data[2] = {
      {static_cast<uint32_t>(effective), static_cast<uint32_t>(permitted), static_cast<uint32_t>(inheritable)},
      {static_cast<uint32_t>(effective >> 32), static_cast<uint32_t>(permitted >> 32),
       static_cast<uint32_t>(inheritable >> 32)}};
  return syscall(SYS_capset, &head, data) == 0;
}

uint64_t permitted_now() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &head, data) != 0) return 0;
  return data[0].permitted | uint64_t{data[1].permitted} << 32;
}

bool drop_bounding(uint64_t keep, problem& why) {
  for (uint64_t left = own_bounding_set() & ~keep; left != 0; left &= left - 1)
    if (prctl(PR_CAPBSET_DROP, std::countr_zero(left), 0, 0, 0) != 0) return why.say_errno({"prctl drop bounding"});
  return true;
}

bool set_ids(const process_plan& process, problem& why) {
  // The raw call: glibc's would tell all threads, and there are none.
  if (syscall(SYS_setgroups, process.groups.size(), process.groups.data()) != 0) return why.say_errno({"setgroups"});
  if (syscall(SYS_setresgid, process.gid, process.gid, process.gid) != 0) return why.say_errno({"setresgid"});
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return why.say_errno({"prctl keep capabilities"});
  if (syscall(SYS_setresuid, process.uid, process.uid, process.uid) != 0) return why.say_errno({"setresuid"});
  return true;
}

bool set_ambient(uint64_t wanted, problem& why) {
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
    return why.say_errno({"prctl reset ambient"});
  for (int capability = 0; capability < 64; ++capability)
    if ((wanted & bit(capability)) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0)
      return why.say_errno({"prctl ambient raise"});
  return true;
}

bool final_capabilities(const capability_sets& wanted, problem& why) {
  // What this process itself has not cannot be given; the daemon has left such names out already.
  const uint64_t have = permitted_now();
  if (!set_capabilities(wanted.effective & have, wanted.permitted & have, wanted.inheritable & have))
    return why.say_errno({"capset"});
  return set_ambient(wanted.ambient & have, why);
}

bool load_seccomp(const seccomp_filter& filter, problem& why) {
  if (filter.program.empty()) return true;
  const sock_fprog program{static_cast<unsigned short>(filter.program.size()),
                           const_cast<sock_filter*>(filter.program.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter.flags, &program) != 0)
    return why.say_errno({"seccomp (SECCOMP_SET_MODE_FILTER)"});
  return true;
}

// A folder that cannot be reached from the root is one of the machine's (CVE-2024-21626).
bool enter(const char* folder) {
  if (chdir(folder) != 0) return false;
  char path[PATH_MAX];
  if (syscall(SYS_getcwd, path, sizeof path) > 0 && path[0] != '/') {
    (void)!chdir("/");
    errno = ENOENT;
    return false;
  }
  return true;
}
}  // namespace

uint64_t own_bounding_set() {
  static const uint64_t all = [] {
    uint64_t found = 0;
    for (int capability = 0, has = 0; (has = prctl(PR_CAPBSET_READ, capability, 0, 0, 0)) >= 0; ++capability)
      if (has == 1) found |= bit(capability);
    return found;
  }();
  return all;
}

bool become(const process_plan& process, const seccomp_filter& seccomp, problem& why) {
  for (const auto& limit : process.rlimits)
    if (syscall(SYS_prlimit64, 0, limit.resource, &limit.value, nullptr) != 0)
      return why.say_errno({"setrlimit `", limit.name, "`"});
  // As root first: a user may be given a folder that it could not reach by itself (runc).
  const bool entered = enter(process.cwd.c_str());
  if (!drop_bounding(process.capabilities.bounding, why) || !set_ids(process, why)) return false;
  if (!process.no_new_privileges) {
    // Without that flag only CAP_SYS_ADMIN may load a filter, so it is kept until then.
    const uint64_t have = permitted_now();
    if (!set_capabilities(have, have, 0)) return why.say_errno({"capset"});
    if (!entered && !enter(process.cwd.c_str())) return why.say_errno({"chdir `", process.cwd, "`"});
    umask(process.mask);
    return load_seccomp(seccomp, why) && final_capabilities(process.capabilities, why);
  }
  if (!final_capabilities(process.capabilities, why)) return false;
  if (!entered && !enter(process.cwd.c_str())) return why.say_errno({"chdir `", process.cwd, "`"});
  umask(process.mask);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return why.say_errno({"prctl no new privileges"});
  return load_seccomp(seccomp, why);
}

void execute(const process_plan& process, problem& why, const char*& found) {
  found = nullptr;
  bool denied = false;
  for (const auto& candidate : process.candidates) {
    execve(candidate.c_str(), process.argv.data(), process.envp.data());
    const int number = errno;
    if (number == EACCES) {
      denied = true;
      continue;
    }
    struct stat info {};
    const bool missing = number == ENOENT || number == ENOTDIR;
    if (missing && fstatat(AT_FDCWD, candidate.c_str(), &info, 0) != 0) continue;
    found = candidate.c_str();
    const std::string_view hint = missing ? " (missing dynamic library?)" : "";
    why.say(number, {"exec container process", hint, " `", candidate, "`"});
    return;
  }
  if (denied)
    why.say(EACCES, {"open executable"});
  else
    why.say(ENOENT, {"executable file `", process.args[0], "` not found in $PATH"});
}

void complain(const char* file, int error_number) {
  // Go's words; strerror is not for a process between clone and execve.
  const char* words = "cannot be executed";
  if (error_number == ENOEXEC) words = "exec format error";
  if (error_number == ENOENT) words = "no such file or directory";
  if (error_number == E2BIG) words = "argument list too long";
  if (error_number == EPERM) words = "operation not permitted";
  problem line;
  line.say(error_number, {"exec ", file, ": ", words, "\n"});
  (void)!write(2, line.text.data(), std::string_view(line.text.data()).size());
}

}  // namespace arca::guest::native
