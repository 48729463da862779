#include "vm/relay/host_socket.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

namespace arca::vm {
namespace {
constexpr uint32_t mode_bits = 0777;

result<unique_fd> open_socket(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  unique_fd found(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  struct stat info {};
  if (!found || fstat(found.get(), &info) != 0) return fail_errno("open " + path);
  if (!S_ISSOCK(info.st_mode)) return fail(errc::invalid_argument, path + " is no socket any more");
  return found;
}

/// This thread's user for a while. System calls, because the C library's wrappers change every thread.
class other_user {
 public:
  other_user(uid_t uid, gid_t gid) {
    if (uid == 0 && gid == 0) return;
    dumpable_ = prctl(PR_GET_DUMPABLE);
    active_ = true;
    good_ = syscall(SYS_setresgid, -1, gid, -1) == 0 && syscall(SYS_setresuid, -1, uid, -1) == 0 && keep_override(uid);
  }
  other_user(const other_user&) = delete;
  other_user& operator=(const other_user&) = delete;
  ~other_user() {
    if (!active_) return;
    (void)!syscall(SYS_setresuid, -1, 0, -1);
    (void)!syscall(SYS_setresgid, -1, 0, -1);
    prctl(PR_SET_DUMPABLE, dumpable_);  // lost with the first change of a user
  }
  bool good() const { return good_; }

 private:
  /// The socket's mode was asked where the client is: here it must not matter.
  static bool keep_override(uid_t uid) {
    if (uid == 0) return true;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    if (syscall(SYS_capget, &header, sets.data()) != 0) return false;
    sets[0].effective |= sets[0].permitted & (1U << CAP_DAC_OVERRIDE);
    return syscall(SYS_capset, &header, sets.data()) == 0;
  }

  int dumpable_ = 1;
  bool active_ = false, good_ = true;
};
}  // namespace

result<host_socket> host_socket_of(int file) {
  struct stat info {};
  std::array<char, PATH_MAX> path{};
  const auto link = "/proc/self/fd/" + std::to_string(file);
  if (fstat(file, &info) != 0 || readlink(link.c_str(), path.data(), path.size() - 1) <= 0)
    return fail_errno("a socket to share");
  ARCA_TRY(again, open_socket(path.data()));
  struct stat found {};
  if (fstat(again.get(), &found) != 0 || found.st_dev != info.st_dev || found.st_ino != info.st_ino)
    return fail(errc::conflict, std::string(path.data()) + " has just been replaced");
  return host_socket{path.data(), info.st_uid, info.st_gid, info.st_mode & mode_bits};
}

result<unique_fd> connect_as(const std::string& path, uid_t uid, gid_t gid, int limit_ms) {
  ARCA_TRY(file, open_socket(path));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto name = "/proc/self/fd/" + std::to_string(file.get());
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!made) return fail_errno("socket");
  const timeval limit{limit_ms / 1000, limit_ms % 1000 * 1000};
  setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const other_user client(uid, gid);
  if (!client.good()) return fail_errno("become user " + std::to_string(uid));
  if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(errc::unavailable, path + ": " + std::strerror(errno));
  return made;
}

}  // namespace arca::vm
