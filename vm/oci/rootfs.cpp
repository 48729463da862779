#include "vm/oci/rootfs.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::oci {
namespace {

bool safe_path(std::string_view path) {
  return path.find('\0') == std::string_view::npos;
}

std::string absolute(std::string_view path, std::string_view cwd) {
  if (!path.empty() && path[0] == '/') return std::string(path);
  std::string whole(cwd.empty() ? "/" : cwd);
  if (whole.back() != '/') whole += '/';
  return whole.append(path);
}

/// The descriptor, or the negative errno.
int open_in_root(int root_fd, const std::string& path, int flags, unsigned mode = 0) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something in the tree was renamed meanwhile and the kernel cannot vouch for the walk.
  for (int attempt = 0; attempt < 32; ++attempt) {
    const auto fd = static_cast<int>(syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how));
    if (fd >= 0) return fd;
    if (errno != EAGAIN && errno != EINTR) return -errno;
  }
  return -EAGAIN;
}

/// 0, or the errno that execve would give for lack of a file, a right or a regular file.
int executable(int root_fd, const std::string& path) {
  const int fd = open_in_root(root_fd, path, O_PATH);
  if (fd < 0) return -fd;
  const unique_fd file(fd);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return errno;
  if (S_ISDIR(info.st_mode) || (info.st_mode & 0111) == 0) return EACCES;
  return 0;
}

}  // namespace

result<unique_fd> open_below(int root_fd, std::string_view path, int flags, unsigned mode) {
  if (!safe_path(path)) return fail(errc::invalid_argument, "path contains a NUL byte");
  const int fd = open_in_root(root_fd, std::string(path), flags, mode);
  if (fd < 0) return fail(errno_error(path, -fd));
  return unique_fd(fd);
}

result<void> make_working_dir(int root_fd, std::string_view path, uint32_t uid, uint32_t gid) {
  const std::string whole(path);
  if (whole.empty() || whole == "/") return {};
  if (!safe_path(path)) return fail(errc::invalid_argument, "path contains a NUL byte");
  const auto not_a_directory = [&] { return fail(errc::internal, "Cannot mkdir: " + whole + " is not a directory"); };
  const int there = open_in_root(root_fd, whole, O_PATH | O_DIRECTORY);
  if (there >= 0) {
    ::close(there);
    return {};
  }
  if (there == -ENOTDIR) return not_a_directory();
  unique_fd at(open_in_root(root_fd, "/", O_PATH | O_DIRECTORY));
  std::string so_far;
  for (const auto& part : split(whole, '/')) {
    if (part.empty() || part == ".") continue;
    so_far += '/' + part;
    // Each prefix is opened anew below the root, so that ".." and links mean what they mean inside.
    int next = open_in_root(root_fd, so_far, O_PATH | O_DIRECTORY);
    if (next == -ENOENT && part != "..") {
      if (mkdirat(at.get(), part.c_str(), 0755) == 0) {
        if ((uid != 0 || gid != 0) && fchownat(at.get(), part.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
          return fail_errno("chown " + so_far);
      } else if (errno != EEXIST) {
        return fail_errno("mkdir " + so_far);
      }
      next = open_in_root(root_fd, so_far, O_PATH | O_DIRECTORY);
    }
    if (next == -ENOTDIR) return not_a_directory();
    if (next < 0) return fail(errno_error("mkdir " + so_far, -next));
    at.reset(next);
  }
  return {};
}

result<void> check_executable(int root_fd, std::string_view program, std::string_view path_env, std::string_view cwd) {
  const auto say = [&](const std::string& why) {
    return fail(errc::invalid_argument, "exec: " + go_quote(program) + ": " + why);
  };
  if (program.empty()) return say("executable file not found in $PATH");
  if (program.find('/') != std::string_view::npos) {
    const int problem = executable(root_fd, absolute(program, cwd));
    if (problem == 0) return {};
    if (problem == EACCES) return say("permission denied");
    return say("stat " + std::string(program) + ": " + lower(strerror(problem)));
  }
  for (const auto& folder : split(path_env, ':')) {
    auto whole = absolute(folder, cwd);
    if (whole.back() != '/') whole += '/';
    if (executable(root_fd, whole.append(program)) == 0) return {};
  }
  return say("executable file not found in $PATH");  // Go's search says no more of what it may not run either
}

result<unique_fd> open_bind_source(const std::string& path, bool create) {
  unique_fd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd && errno == ENOENT && create) {
    if (auto made = fs::make_dirs(path, 0755); !made)
      return fail(errc::internal, "error while creating mount source path '" + path + "': " + made.error().message());
    fd.reset(::open(path.c_str(), O_PATH | O_CLOEXEC));
  }
  if (fd) return fd;
  if (errno == ENOENT)
    return fail(errc::invalid_argument,
                "invalid mount config for type \"bind\": bind source path does not exist: " + path);
  return fail(errc::internal, "invalid mount config for type \"bind\": stat " + path + ": " + lower(strerror(errno)));
}

}  // namespace arca::oci
