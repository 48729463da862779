#include "persistence/images/overlay.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <set>
#include <thread>

#include "persistence/base/fs.hpp"

namespace arca::images {
namespace {

constexpr unsigned clone_tree = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
/// Set when the kernel refused lowerdir+ once.
std::atomic<bool> use_legacy = false;

int sys_fsopen(const char* type) {
  return static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}
int sys_fsconfig(int fs, unsigned command, const char* key, const char* value) {
  return static_cast<int>(::syscall(SYS_fsconfig, fs, command, key, value, 0));
}
int sys_fsmount(int fs, unsigned attributes) {
  return static_cast<int>(::syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}
int sys_open_tree(int dir, const char* path, unsigned flags) {
  return static_cast<int>(::syscall(SYS_open_tree, dir, path, flags));
}

/// The kernel writes the reason of a refused option into the context's log.
std::string reason(int fs) {
  const int number = errno;
  char text[512];
  const ssize_t n = ::read(fs, text, sizeof text);
  std::string out = n > 2 ? std::string(text + 2, static_cast<size_t>(n - 2)) : std::string();
  while (!out.empty() && out.back() == '\n') out.pop_back();
  errno = number;
  return out;
}

tl::unexpected<error> failed(int fs, const std::string& what) {
  const std::string why = reason(fs);
  const int number = errno;
  return fail(errno_error("overlay: " + what + (why.empty() ? "" : " (" + why + ")"), number));
}

/// A layer whose root is opaque hides all below it; overlayfs looks at that mark on every folder but the root.
std::vector<std::string> visible(const std::vector<std::string>& lower) {
  std::vector<std::string> out;
  for (const auto& dir : lower) {
    out.push_back(dir);
    char mark = 0;
    if (::getxattr(dir.c_str(), "trusted.overlay.opaque", &mark, 1) == 1 && mark == 'y') break;
  }
  return out;
}

result<unique_fd> read_only(unique_fd mount) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return fail_errno("overlay: make the mount read-only");
  return mount;
}

/// One folder alone: overlayfs wants two; a clone of the folder's mount does the same.
result<unique_fd> clone_folder(const std::string& dir, bool ro) {
  unique_fd mount(sys_open_tree(AT_FDCWD, dir.c_str(), clone_tree));
  if (!mount) return fail_errno("open_tree " + dir);
  if (ro) return read_only(std::move(mount));
  return mount;
}

result<unique_fd> mount_new(const std::vector<std::string>& lower, const overlay_spec& spec, bool& old_kernel) {
  const unique_fd fs(sys_fsopen("overlay"));
  if (!fs) return fail_errno("overlay: fsopen");
  const auto set = [&](const char* key, const char* value) {
    return sys_fsconfig(fs.get(), FSCONFIG_SET_STRING, key, value) == 0;
  };
  if (!set("source", "overlay")) return failed(fs.get(), "source");  // what /proc/mounts shows first
  for (const auto& dir : lower)
    if (!set("lowerdir+", dir.c_str())) {
      old_kernel = errno == EINVAL && &dir == &lower.front() && ::access(dir.c_str(), F_OK) == 0;
      return failed(fs.get(), "lower folder " + dir);
    }
  if (!spec.upper.empty()) {
    if (!set("upperdir", spec.upper.c_str())) return failed(fs.get(), "upper folder " + spec.upper);
    if (!set("workdir", spec.work.c_str())) return failed(fs.get(), "work folder " + spec.work);
  }
  for (const char* off : {"redirect_dir", "metacopy", "index"})
    if (!set(off, "off")) return failed(fs.get(), off);
  if (sys_fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0) return failed(fs.get(), "create");
  unique_fd mount(sys_fsmount(fs.get(), spec.read_only || spec.upper.empty() ? MOUNT_ATTR_RDONLY : 0));
  if (!mount) return failed(fs.get(), "mount");
  return mount;
}

/// mount(2) takes one page of options: the folders are opened and named by number, relative to /proc/self/fd.
result<unique_fd> mount_old(const std::vector<std::string>& lower, const overlay_spec& spec) {
  std::vector<unique_fd> held;
  const auto number_of = [&](const std::string& dir) -> result<std::string> {
    unique_fd fd(::open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail_errno("open " + dir);
    held.push_back(std::move(fd));
    return std::to_string(held.back().get());
  };
  std::string options = "redirect_dir=off,metacopy=off,index=off,lowerdir=";
  for (const auto& dir : lower) {
    ARCA_TRY(number, number_of(dir));
    options += (&dir == &lower.front() ? "" : ":") + number;
  }
  if (!spec.upper.empty()) {
    ARCA_TRY(upper, number_of(spec.upper));
    ARCA_TRY(work, number_of(spec.work));
    options += ",upperdir=" + upper + ",workdir=" + work;
  }
  if (options.size() >= 4096) return fail(errc::unsupported, "overlay: too many layers for this kernel");
  if (::chdir("/proc/self/fd") != 0) return fail_errno("chdir /proc/self/fd");
  const unsigned long flags = spec.read_only || spec.upper.empty() ? MS_RDONLY : 0;
  // Over the last layer's folder, in this thread's own namespace: nobody else sees it.
  const std::string target = lower.back();
  if (::mount("overlay", target.c_str(), "overlay", flags, options.c_str()) != 0) return fail_errno("mount overlay");
  unique_fd mount(sys_open_tree(AT_FDCWD, target.c_str(), clone_tree));
  if (!mount) return fail_errno("open_tree overlay");
  return mount;
}

result<unique_fd> in_private_namespace(const std::vector<std::string>& lower, const overlay_spec& spec) {
  result<unique_fd> out = fail(errc::internal, "overlay: thread did not run");
  // CLONE_FS and CLONE_NEWNS are this thread's only; both end with it.
  std::thread([&] {
    if (::unshare(CLONE_FS | CLONE_NEWNS) != 0) {
      out = fail_errno("unshare mount namespace");
    } else if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      out = fail_errno("make mounts private");
    } else {
      out = mount_old(lower, spec);
    }
  }).join();
  return out;
}

result<void> check(const overlay_spec& spec) {
  if (spec.upper.empty() != spec.work.empty() || (spec.lower.empty() && spec.upper.empty()))
    return fail(errc::invalid_argument, "overlay: neither layers nor upper and work folders");
  if (spec.lower.size() > 500) return fail(errc::invalid_argument, "overlay: more than 500 layers");
  return {};
}

bool is_plain(const std::vector<std::string>& lower, const overlay_spec& spec) {
  return lower.empty() || (lower.size() == 1 && spec.upper.empty());
}

}  // namespace

result<unique_fd> mount_overlay(const overlay_spec& spec) {
  ARCA_CHECK(check(spec));
  const auto lower = visible(spec.lower);
  if (lower.empty()) return clone_folder(spec.upper, spec.read_only);
  if (is_plain(lower, spec)) return clone_folder(lower.front(), true);
  if (!use_legacy) {
    bool old_kernel = false;
    auto mounted = mount_new(lower, spec, old_kernel);
    if (mounted || !old_kernel) return mounted;
    use_legacy = true;
  }
  return in_private_namespace(lower, spec);
}

result<unique_fd> mount_overlay_legacy(const overlay_spec& spec) {
  ARCA_CHECK(check(spec));
  const auto lower = visible(spec.lower);
  if (is_plain(lower, spec)) return mount_overlay(spec);
  return in_private_namespace(lower, spec);
}

result<container_layer> make_container_layer(const std::string& dir) {
  ARCA_CHECK(fs::make_dirs(dir, 0700));
  container_layer out{dir + "/upper", dir + "/work"};
  for (const auto& path : {out.upper, out.work}) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("mkdir " + path);
    if (::chmod(path.c_str(), 0755) != 0) return fail_errno("chmod " + path);  // whatever the umask is
  }
  return out;
}

result<uint64_t> size_of_tree(const std::string& dir) {
  struct close_dir {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  using dir_handle = std::unique_ptr<DIR, close_dir>;
  const auto open_dir = [](int parent, const char* name) {
    const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR* d = fd < 0 ? nullptr : ::fdopendir(fd);
    if (fd >= 0 && d == nullptr) ::close(fd);
    return dir_handle(d);
  };
  std::vector<dir_handle> open;
  open.push_back(open_dir(AT_FDCWD, dir.c_str()));
  if (!open.back()) return fail_errno("open " + dir);
  uint64_t size = 0;
  std::set<std::pair<dev_t, ino_t>> linked;
  while (!open.empty()) {
    DIR* const here = open.back().get();
    const dirent* entry = ::readdir(here);
    if (entry == nullptr) {
      open.pop_back();
      continue;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    if (::fstatat(::dirfd(here), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // it went meanwhile
    if (S_ISDIR(st.st_mode)) {
      // Deeper than this a container only goes to waste our descriptors.
      if (open.size() < 256)
        if (auto child = open_dir(::dirfd(here), entry->d_name)) open.push_back(std::move(child));
      continue;
    }
    if (st.st_nlink > 1 && !linked.emplace(st.st_dev, st.st_ino).second) continue;
    size += static_cast<uint64_t>(st.st_size);
  }
  return size;
}

}  // namespace arca::images
