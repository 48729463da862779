// Paths that never lead out of a root, whatever symbolic links a container has made: openat2(RESOLVE_IN_ROOT).
#pragma once
#include <sys/types.h>

#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// The root of a process (its own mount namespace); 0: the machine's.
result<unique_fd> root_of(pid_t process);
/// open(2) below `root`, close-on-exec.
result<unique_fd> open_in(int root, const std::string& path, int flags, unsigned mode = 0);
/// mkdir below `root`; with `parents` also those above it, and one that exists is fine.
result<void> make_directory_in(int root, const std::string& path, unsigned mode, bool parents);
/// Writes a file below `root` whole: another one in its place, or, where that cannot be (a mount), its new content.
result<void> write_file_in(int root, const std::string& path, const std::string& content, unsigned mode);

}  // namespace arca::guest
