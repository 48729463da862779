// The few things that are done inside a root file system before it runs, always below its descriptor.
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::oci {

/// mkdir -p below the root; links in the path are followed inside the root only. "Cannot mkdir: PATH is not a
/// directory" when a file is in the way. New folders belong to uid:gid.
result<void> make_working_dir(int root_fd, std::string_view path, uint32_t uid, uint32_t gid);

/// What the launcher will find for argv[0]: success, or runc's words and errc::invalid_argument, without "exec failed"
/// and other prefixes: `exec: "x": executable file not found in $PATH`. `path_env` is $PATH of the process.
result<void> check_executable(int root_fd, std::string_view program, std::string_view path_env, std::string_view cwd);

/// Opens a path below the root with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS).
result<unique_fd> open_below(int root_fd, std::string_view path, int flags, unsigned mode = 0);

/// The host side of a bind mount as an O_PATH descriptor. A missing source is made (a folder) with `create`, else
/// errc::invalid_argument in Docker's words.
result<unique_fd> open_bind_source(const std::string& path, bool create);

}  // namespace arca::oci
