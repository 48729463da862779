#include "guest/vm/rooted.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
constexpr size_t longest_path = 4096;
constexpr size_t deepest = 256;

// The folder that holds `path`, and its last name.
result<unique_fd> open_parent(int root, const std::string& path, std::string& name) {
  const auto slash = path.rfind('/');
  name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == ".." || name.find('\0') != std::string::npos)
    return fail(errc::invalid_argument, "no file name in " + go_quote(path));
  return open_in(root, slash == std::string::npos ? "." : path.substr(0, slash + 1), O_PATH | O_DIRECTORY);
}

// Writes another file and puts it in the place of this one. 0 or errno.
int replace(int folder, const std::string& name, const std::string& content, unsigned mode) {
  const std::string beside = ".arca-" + random_hex(8);
  const unique_fd file(openat(folder, beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return errno;
  if (fs::write_all(file.get(), content) && fchmod(file.get(), mode) == 0 &&
      renameat(folder, beside.c_str(), folder, name.c_str()) == 0)
    return 0;
  const int failure = errno;
  unlinkat(folder, beside.c_str(), 0);
  return failure;
}

// The content of a file that cannot be replaced.
result<void> overwrite(int folder, const std::string& name, const std::string& content) {
  // Looked at before it is opened for good: opening a device or a pipe does things.
  const unique_fd seen(openat(folder, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!seen || fstat(seen.get(), &status) != 0) return fail_errno("open " + name);
  if (!S_ISREG(status.st_mode)) return fail(errc::invalid_argument, name + " is no regular file");
  ARCA_TRY(file, fs::open("/proc/self/fd/" + std::to_string(seen.get()), O_WRONLY | O_TRUNC));
  return fs::write_all(file.get(), content);
}
}  // namespace

result<unique_fd> root_of(pid_t process) {
  return fs::open(process == 0 ? "/" : "/proc/" + std::to_string(process) + "/root", O_PATH | O_DIRECTORY);
}

result<unique_fd> open_in(int root, const std::string& path, int flags, unsigned mode) {
  if (path.empty() || path.size() >= longest_path || path.find('\0') != std::string::npos)
    return fail(errc::invalid_argument, "invalid path " + go_quote(path));
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (int tries = 0; tries < 16; ++tries) {
    unique_fd opened(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
    if (opened) return opened;
    if (errno != EAGAIN) break;  // something was renamed meanwhile
  }
  return fail_errno("open " + path);
}

result<void> make_directory_in(int root, const std::string& path, unsigned mode, bool parents) {
  if ((mode & ~07777U) != 0) return fail(errc::invalid_argument, "invalid mode");
  const auto make = [&](const std::string& each) -> result<void> {
    std::string name;
    ARCA_TRY(folder, open_parent(root, each, name));
    if (mkdirat(folder.get(), name.c_str(), mode) != 0) {
      if (errno != EEXIST || !parents) return fail_errno("make folder " + each);
      return open_in(root, each, O_PATH | O_DIRECTORY).map([](const unique_fd&) {});
    }
    // Not lessened by the umask.
    return fchmodat(folder.get(), name.c_str(), mode, 0) == 0 ? result<void>{} : fail_errno("make folder " + each);
  };
  if (!parents) return make(path);
  std::string so_far = starts_with(path, "/") ? "/" : "";
  size_t depth = 0;
  for (const auto& name : split(path, '/')) {
    if (name.empty()) continue;
    if (++depth > deepest) return fail(errc::invalid_argument, "too many folders in a path");
    so_far += so_far.empty() || so_far.back() == '/' ? name : '/' + name;
    if (name != "." && name != "..") ARCA_CHECK(make(so_far));
  }
  return {};
}

result<void> write_file_in(int root, const std::string& path, const std::string& content, unsigned mode) {
  if ((mode & ~07777U) != 0) return fail(errc::invalid_argument, "invalid mode");
  std::string name;
  ARCA_TRY(folder, open_parent(root, path, name));
  const int failure = replace(folder.get(), name, content, mode);
  if (failure == 0) return {};
  // A mount refuses to be replaced, or the folder around it cannot be changed.
  const bool mounted = failure == EBUSY || failure == EROFS;
  if (mounted && faccessat(folder.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return overwrite(folder.get(), name, content);
  return fail(errno_error("write " + path, failure));
}

}  // namespace arca::guest
