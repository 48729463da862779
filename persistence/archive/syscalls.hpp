// openat2(2), which glibc 2.36 does not wrap, and lookups built on it.
#pragma once
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "persistence/base/unique_fd.hpp"

namespace arca::archive {

/// openat2 below `root`; -1 with errno. Retries what the kernel calls transient (a rename on the way).
inline unique_fd open_below(int root, const char* path, int flags, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = resolve;
  for (int attempt = 0; attempt < 16; ++attempt) {
    unique_fd fd(static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how)));
    if (fd || (errno != EAGAIN && errno != EINTR)) return fd;
  }
  return {};
}

/// As a process that is chrooted to `root` would: links are followed, none leads out.
inline unique_fd open_in_root(int root, const std::string& path, int flags) {
  return open_below(root, path.empty() ? "." : path.c_str(), flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/// No link anywhere in the path.
inline unique_fd open_no_links(int root, const std::string& path, int flags) {
  return open_below(root, path.empty() ? "." : path.c_str(), flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/// "/proc/self/fd/N": a path to an open file for calls that take no descriptor.
inline std::string proc_path(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

}  // namespace arca::archive
