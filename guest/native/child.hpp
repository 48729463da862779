// The process between clone and execve.
#pragma once
#include <atomic>
#include <vector>

#include "guest/native/loan.hpp"
#include "guest/native/plan.hpp"
#include "guest/process_stdio.hpp"

namespace arca::guest::native {

struct child_plan {
  std::string container_id;
  container_plan container;  ///< of an exec only `process` and `seccomp`
  bool exec = false;
  unique_fd init;                       ///< of an exec: pidfd of the container's first process
  std::vector<unique_fd> cgroup_procs;  ///< cgroup.procs of each hierarchy to be joined; with CLONE_INTO_CGROUP none
  child_stdio stdio;
  unique_fd channel;        ///< where the child reports
  int channel_number = -1;  ///< its number, which stays when the agent has closed it
  loan* lent = nullptr;     ///< while the child has the agent's own memory
};

/// Before the first clone: learns what does not change about this process.
void prepare_clones();

/// Clones a process that does what `plan` says and becomes its program; it is a child of this one. `cgroup`: folder of
/// the v2 cgroup that it begins in, -1: this process's. `pid` is set as soon as there is a process. errno in the
/// error's text. Until execve the child has a copy of the agent's memory, which costs page tables and faults.
result<void> clone_child(child_plan& plan, int cgroup, unique_fd& pidfd, std::atomic<pid_t>& pid);
/// The same for an exec (its child changes nothing in the plan) without the copy, where that can be: the calling thread
/// waits as `lent` says. `channel` is the agent's end of the plan's.
result<void> clone_borrower(child_plan& plan, int cgroup, std::atomic<pid_t>& pid, loan& lent, int channel);

}  // namespace arca::guest::native
