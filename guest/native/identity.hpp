// Who a process is and what it may: limits, ids, capabilities, system calls. For the child: no heap.
#pragma once
#include "guest/native/plan.hpp"
#include "guest/native/problem.hpp"

namespace arca::guest::native {

/// This process's, which does not change; asked for once, before the first child.
uint64_t own_bounding_set();
/// Everything after the root is in place and before execve; the working directory is entered in between.
bool become(const process_plan& process, const seccomp_filter& seccomp, problem& why);

/// execve of the first candidate that can be; returns only on failure, `why` in crun's words. `found`: the one that is
/// a file and may be run, but is no program for this machine (a wrong architecture, no interpreter); nullptr: there is
/// none.
void execute(const process_plan& process, problem& why, const char*& found);
/// What Docker's users see of such a file: "exec FILE: exec format error" on the container's stderr.
void complain(const char* file, int error_number);

}  // namespace arca::guest::native
