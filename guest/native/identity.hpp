// Who a process is and what it may: limits, ids, capabilities, system calls. For the child: no heap.
#pragma once
#include "guest/native/plan.hpp"
#include "guest/native/problem.hpp"

namespace arca::guest::native {

/// Everything after the root is in place and before execve; the working directory is entered in between.
bool become(const process_plan& process, const seccomp_filter& seccomp, problem& why);

/// execve of the first candidate that can be; returns only on failure, `why` in crun's words.
bool execute(const process_plan& process, problem& why);

}  // namespace arca::guest::native
