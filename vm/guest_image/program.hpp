// Runs a helper program to its end. Only `arca setup` does that; no container's path has one.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::vm {

struct program_result {
  int exit_code = 0;   ///< 128 + n when signal n ended it
  std::string output;  ///< standard output; a longer one than 1 MiB is cut
  std::string errors;  ///< standard error, the same
};

/// `arguments[0]` is looked for in PATH (errc::not_found when it is not there). In folder `folder`, with the locale C
/// and nothing to read.
result<program_result> run_program(const std::vector<std::string>& arguments, const std::string& folder = "/");

}  // namespace arca::vm
