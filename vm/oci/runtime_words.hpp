// What the launcher (crun) says when a container or an exec cannot start, in the words of runc and containerd that
// Docker's users and tools know, with the code that Docker answers.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::oci {

struct failed_launch {
  std::string text;                                  ///< the launcher's own
  bool exec = false;                                 ///< an exec, else the container's init
  std::string program;                               ///< argv[0]
  std::string path_env, cwd;                         ///< $PATH and working directory of the process
  std::map<std::string, std::string> mount_sources;  ///< by destination, as the user named them
  int root_fd = -1;                                  ///< root of the container; -1: unknown
};

/// Docker's classes of what a runtime says: errc::invalid_argument when the words sound as if the container's own
/// settings were wrong (400, exit code 126 or 127; with a hint where something is no directory), else errc::internal.
error runtime_error(std::string words);

/// Something else than the launcher could not set the container up.
error init_error(const std::string& text);

/// errc::invalid_argument when the program cannot be run (Docker: 400, exit code 126 or 127), else errc::internal.
error launch_error(const failed_launch& failed);

}  // namespace arca::oci
