// A process's terminal: a pair of the container's own devpts, so that its name means something inside. For the child.
#pragma once
#include "guest/native/plan.hpp"
#include "guest/native/problem.hpp"

namespace arca::guest::native {

struct terminal {
  unique_fd master, end;
};

/// `root`: the container's. The end belongs to the process's user.
bool open_terminal(int root, const process_plan& process, terminal& out, problem& why);
/// The end over /dev/console, as a file system of its own.
bool mount_console(int root, const terminal& of, problem& why);
/// Becomes the controlling terminal of this session and its descriptors 0, 1 and 2.
bool take_terminal(const terminal& of, problem& why);

}  // namespace arca::guest::native
