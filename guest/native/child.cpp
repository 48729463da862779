#include "guest/native/child.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <net/if.h>
#if __has_feature(thread_sanitizer)
#include <sanitizer/linux_syscall_hooks.h>
#endif
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "guest/native/below.hpp"
#include "guest/native/channel.hpp"
#include "guest/native/identity.hpp"
#include "guest/native/root.hpp"
#include "guest/native/terminal.hpp"

namespace arca::guest::native {
namespace {

bool write_file(const char* path, std::string_view value) {
  const unique_fd file(open(path, O_WRONLY | O_CLOEXEC));
  return file && write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

bool take_stdio(const child_stdio& from, problem& why) {
  if (dup2(from.in.get(), 0) < 0 || dup2(from.out.get(), 1) < 0 || dup2(from.err.get(), 2) < 0)
    return why.say_errno({"dup2"});
  return true;
}

bool join_cgroups(const child_plan& plan, problem& why) {
  for (const auto& procs : plan.cgroup_procs)
    if (write(procs.get(), "0", 1) != 1) return why.say_errno({"join the cgroup"});
  return true;
}

bool loopback_up() {
  const unique_fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  return any && ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
}

bool set_oom_score(const process_plan& process, problem& why) {
  return process.oom_score_adj.empty() || write_file("/proc/self/oom_score_adj", process.oom_score_adj) ||
         why.say_errno({"write to `/proc/self/oom_score_adj`"});
}

bool enter_namespaces(const container_plan& plan, problem& why) {
  for (const auto& joined : plan.joined)
    if (joined.kind != CLONE_NEWPID && setns(joined.fd.get(), joined.kind) != 0)
      return why.say_errno({"setns `", joined.path, "`"});
  // After the cgroup was joined, since the place at that moment becomes the root of the new namespace.
  if (plan.new_cgroup_namespace && unshare(CLONE_NEWCGROUP) != 0)
    return why.say_errno({"unshare the cgroup namespace"});
  if ((plan.new_namespaces & CLONE_NEWNET) != 0 && !loopback_up()) return why.say_errno({"set lo up"});
  if (plan.has_hostname && sethostname(plan.hostname.data(), plan.hostname.size()) != 0)
    return why.say_errno({"sethostname"});
  if (plan.has_domainname && setdomainname(plan.domainname.data(), plan.domainname.size()) != 0)
    return why.say_errno({"setdomainname"});
  for (const auto& sysctl : plan.sysctls)
    if (!write_file(sysctl.path.c_str(), sysctl.value)) return why.say_errno({"sysctl `", sysctl.name, "`"});
  return true;
}

bool set_up_container(child_plan& plan, problem& why) {
  auto& it = plan.container;
  if (!enter_namespaces(it, why) || !set_oom_score(it.process, why) || !build_root(it, why)) return false;
  // A missing working directory is made, as runc does; chdir says what is wrong when that fails.
  (void)make_in_root(it.root.get(), it.process.cwd, entry_kind::folder);
  if (!it.process.tty) return seal_root(it, why);
  terminal made;
  if (!open_terminal(it.root.get(), it.process, made, why) || !mount_console(it.root.get(), made, why) ||
      !take_terminal(made, why) || !seal_root(it, why))
    return false;
  return send_terminal(plan.channel_number, made.master.get()) || why.say_errno({"send the terminal"});
}

bool set_up_exec(const child_plan& plan, problem& why) {
  const auto& process = plan.container.process;
  if (!set_oom_score(process, why)) return false;
  if (setns(plan.init.get(), CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP) != 0)
    return why.say_errno({"enter the container"});
  if (!process.tty) return true;
  terminal made;
  const unique_fd root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!open_terminal(root.get(), process, made, why) || !take_terminal(made, why)) return false;
  return send_terminal(plan.channel_number, made.master.get()) || why.say_errno({"send the terminal"});
}

bool set_up(child_plan& plan, problem& why) {
  // Nobody in a container that is entered may look into this process while it still holds the agent's memory.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return why.say_errno({"prctl"});
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return why.say_errno({"close_range"});
  if (!join_cgroups(plan, why) || !take_stdio(plan.stdio, why)) return false;
  if (setsid() < 0) return why.say_errno({"setsid"});
  const sched_param usual{};  // the agent may be a patient one
  if (sched_setscheduler(0, SCHED_OTHER, &usual) != 0) return why.say_errno({"sched_setscheduler"});
  // A keyring of its own; a kernel without keyrings or a full quota is no reason not to start.
  (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, plan.container_id.c_str());
  if (plan.exec ? !set_up_exec(plan, why) : !set_up_container(plan, why)) return false;
  std::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  return become(plan.container.process, plan.container.seccomp, why);
}

[[noreturn]] void run(child_plan& plan) {
  problem why;
  if (set_up(plan, why) && send_report(plan.channel_number, report::kind::ready)) {
    if (plan.lent) plan.lent->ready();
    const char* found = nullptr;
    execute(plan.container.process, why, found);
    if (found && !plan.exec) {  // as with runc, such a container has been started
      complain(found, why.number);
      _exit(255);
    }
  }
  send_report(plan.channel_number, report::kind::failed, why);
  _exit(127);
}

const unique_fd& own_pid_namespace() {
  static const unique_fd own(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  return own;
}

// The children of this thread appear in another pid namespace while it lives. Threads made meanwhile by others do not.
class pid_namespace_visit {
 public:
  result<void> enter(int fd) {
    if (!own_pid_namespace()) return fail(errc::internal, "the agent's own pid namespace is not open");
    if (setns(fd, CLONE_NEWPID) != 0) return fail_errno("enter the pid namespace");
    own_ = own_pid_namespace().get();
    return {};
  }
  pid_namespace_visit() = default;
  pid_namespace_visit(const pid_namespace_visit&) = delete;
  pid_namespace_visit& operator=(const pid_namespace_visit&) = delete;
  ~pid_namespace_visit() {
    // Every later child would land in the container.
    if (own_ >= 0 && setns(own_, CLONE_NEWPID) != 0) std::abort();
  }

 private:
  int own_ = -1;
};

#if defined(__x86_64__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
constexpr bool can_borrow = true;
// The child begins on a stack of its own, or on its copy of this one, in a call that never returns.
[[gnu::noinline]] long clone_and_run(clone_args& how, child_plan& plan) {
  long made = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "and $-16, %%rsp\n\t"
      "mov %[plan], %%rdi\n\t"
      "call *%[run]\n\t"
      "ud2\n"
      "1:"
      : "+a"(made)
      : "D"(&how), "S"(sizeof how), [plan] "r"(&plan), [run] "r"(&run)
      : "rcx", "r11", "memory", "cc");
  return made;
}

// Of the thread's children, one after the other: it waits for each.
class child_stack {
 public:
  child_stack() : memory_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {
    if (memory_ == MAP_FAILED) return;
    mprotect(memory_, guard, PROT_NONE);
  }
  child_stack(const child_stack&) = delete;
  child_stack& operator=(const child_stack&) = delete;
  ~child_stack() {
    if (memory_ != MAP_FAILED) munmap(memory_, size);
  }
  bool give_to(clone_args& how) const {
    how.stack = reinterpret_cast<uint64_t>(memory_);
    how.stack_size = size;
    return memory_ != MAP_FAILED;
  }

 private:
  static constexpr size_t guard = 4096, size = (256u << 10) + guard;
  void* memory_;
};
bool lend_memory(clone_args& how) {
  static thread_local const child_stack stack;
  if (!stack.give_to(how)) return false;
  how.flags |= CLONE_VM;
  return true;
}
#else
constexpr bool can_borrow = false;
bool lend_memory(clone_args& /*how*/) {
  return true;
}
long clone_and_run(clone_args& how, child_plan& plan) {
#if __has_feature(thread_sanitizer)
  __sanitizer_syscall_pre_fork();  // else another thread's lock of the sanitizer's may be held in the copy for ever
#endif
  const long made = syscall(SYS_clone3, &how, sizeof how);
#if __has_feature(thread_sanitizer)
  __sanitizer_syscall_post_fork(made);
#endif
  if (made == 0) run(plan);
  return made < 0 ? -errno : made;
}
#endif

clone_args arguments_of(const child_plan& plan, int cgroup, std::atomic<pid_t>& pid) {
  static_assert(sizeof pid == sizeof(pid_t));
  clone_args how{};
  how.flags = plan.container.new_namespaces | CLONE_PARENT_SETTID | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0);
  how.parent_tid = reinterpret_cast<uint64_t>(&pid);
  how.exit_signal = SIGCHLD;
  how.cgroup = cgroup >= 0 ? static_cast<uint64_t>(cgroup) : 0;
  return how;
}

int pid_namespace_of(const child_plan& plan) {
  if (plan.exec) return plan.init.get();
  for (const auto& joined : plan.container.joined)
    if (joined.kind == CLONE_NEWPID) return joined.fd.get();
  return -1;
}
}  // namespace

void prepare_clones() {
  own_bounding_set();
  own_pid_namespace();
}

result<void> clone_child(child_plan& plan, int cgroup, unique_fd& pidfd, std::atomic<pid_t>& pid) {
  pid_namespace_visit visit;
  if (const int space = pid_namespace_of(plan); space >= 0) ARCA_CHECK(visit.enter(space));
  int made = -1;
  auto how = arguments_of(plan, cgroup, pid);
  plan.channel_number = plan.channel.get();
  how.flags |= CLONE_PIDFD;
  how.pidfd = reinterpret_cast<uint64_t>(&made);
  if (const long failed = clone_and_run(how, plan); failed < 0)
    return fail(errno_error("clone3", -static_cast<int>(failed)));
  pidfd.reset(made);
  return {};
}

result<void> clone_borrower(child_plan& plan, int cgroup, std::atomic<pid_t>& pid, loan& lent, int channel) {
  pid_namespace_visit visit;
  if (const int space = pid_namespace_of(plan); space >= 0) ARCA_CHECK(visit.enter(space));
  auto how = arguments_of(plan, cgroup, pid);
  if (!lend_memory(how)) return fail(errc::unavailable, "no memory for a stack");
  if (can_borrow) plan.lent = &lent;
  plan.channel_number = plan.channel.get();
  const long made = clone_and_run(how, plan);
  if (made < 0) return fail(errno_error("clone3", -static_cast<int>(made)));
  lent.wait(static_cast<pid_t>(made), channel, plan.channel.release());  // what is planned may be gone after that
  return {};
}

}  // namespace arca::guest::native
