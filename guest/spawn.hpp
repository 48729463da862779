// Starts a helper program (crun) without ever copying this process: gRPC's threads make fork unsafe, and vfork is quicker.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::guest {

/// The child has `in`, `out`, `err` as 0, 1, 2 and no other descriptor, an empty signal mask, default signal actions and a
/// minimal environment. `program` is an absolute path.
result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments, int in, int out, int err);

/// First executable of this name in the usual folders; empty: none.
std::string find_program(const std::string& name);

}  // namespace arca::guest
