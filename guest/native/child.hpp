// The process between clone and execve.
#pragma once
#include <atomic>
#include <vector>

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
  unique_fd channel;
};

/// Until execve the child has the agent's memory: `copied`, or `borrowed`, which saves the copy of page tables and the
/// faults after it. Then the calling thread stands still until execve, which a container can delay for as long as it
/// likes. Only for an exec, whose child changes nothing in the plan.
enum class child_memory : uint8_t { copied, borrowed };

/// Before the first clone: learns what does not change about this process.
void prepare_clones();

/// Clones a process that does what `plan` says and becomes its program; it is a child of this one. `cgroup`: folder of
/// the v2 cgroup that it begins in, -1: this process's. `pid` is set as soon as there is a process. errno in the
/// error's text.
result<void> clone_child(child_plan& plan, int cgroup, unique_fd& pidfd, std::atomic<pid_t>& pid, child_memory memory);

}  // namespace arca::guest::native
