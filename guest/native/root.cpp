#include "guest/native/root.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>

#include "guest/native/below.hpp"
#include "guest/native/devices.hpp"

namespace arca::guest::native {
namespace {

bool set_attributes(int mount, bool below, uint64_t set, uint64_t clear, unsigned long propagation = 0) {
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  attributes.propagation = propagation;
  return mount_setattr(mount, "", AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0), &attributes, sizeof attributes) == 0;
}

std::string_view without_slash(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  return path;
}

bool cannot_mount(std::string_view source, std::string_view target, int number, problem& why) {
  return why.say(number, {"mount `", source, "` to `", without_slash(target), "`"});
}

// The file system's options, with the mode of the folder that it covers.
class mount_data {
 public:
  bool assign(const mount_plan& what, const struct stat* covered) {
    const auto& text = what.options.data;
    if (text.size() + 16 > sizeof text_) return false;
    std::memcpy(text_, text.data(), text.size());
    size_t at = text.size();
    if (what.mode_of_target && covered) {
      constexpr std::string_view key = "mode=";
      if (at > 0) text_[at++] = ',';
      std::memcpy(text_ + at, key.data(), key.size());
      at += key.size();
      for (int shift = 9; shift >= 0; shift -= 3)
        text_[at++] = static_cast<char>('0' + (covered->st_mode >> shift & 7));
    }
    text_[at] = '\0';
    return true;
  }
  const char* get() const { return text_[0] != '\0' ? text_ : nullptr; }

 private:
  char text_[4096] = {};
};

// Read-only comes last (seal_root): mount points of later mounts may have to be made in it.
bool mount_new(int root, mount_plan& what, problem& why) {
  // A link at these places would let an image choose where the kernel's files appear.
  const bool of_kernel = what.type == "proc" || what.type == "sysfs";
  const uint64_t resolve = of_kernel ? RESOLVE_NO_SYMLINKS : 0;
  struct stat covered {};
  bool existed = false;
  if (what.mode_of_target) {
    const unique_fd there = open_in_root(root, what.target.c_str(), O_PATH);
    existed = there && fstat(there.get(), &covered) == 0;
  }
  const unique_fd target = make_in_root(root, what.target, entry_kind::folder, resolve);
  if (!target) return cannot_mount(what.source, what.target, errno, why);
  mount_data data;
  if (!data.assign(what, existed ? &covered : nullptr)) return cannot_mount(what.source, what.target, E2BIG, why);
  if (mount(what.source.c_str(), fd_path(target.get()).c_str(), what.type.c_str(), what.options.flags & ~MS_RDONLY,
            data.get()) != 0)
    return cannot_mount(what.source, what.target, errno, why);
  what.tree = open_in_root(root, what.target.c_str(), O_PATH | O_DIRECTORY);
  if (!what.tree) return cannot_mount(what.source, what.target, errno, why);
  const auto& options = what.options;
  if (options.propagation != 0 &&
      !set_attributes(what.tree.get(), options.propagation_below, 0, 0, options.propagation))
    return cannot_mount(what.source, what.target, errno, why);
  return true;
}

bool hide(int root, const char* path, problem& why) {
  const unique_fd target = open_in_root(root, path, O_PATH);
  struct stat info {};
  if (!target || fstat(target.get(), &info) != 0)
    return errno == ENOENT || errno == ENOTDIR || errno == EACCES || why.say_errno({"mask `", path, "`"});
  if (S_ISDIR(info.st_mode))
    return mount("tmpfs", fd_path(target.get()).c_str(), "tmpfs", MS_RDONLY, "size=0k") == 0 ||
           why.say_errno({"mask `", path, "`"});
  // The machine's own, since the container's may be anything.
  const unique_fd null(open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  return (null &&
          move_mount(null.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0) ||
         why.say_errno({"mask `", path, "`"});
}

bool protect(int root, const char* path, problem& why) {
  const unique_fd target = open_in_root(root, path, O_PATH);
  if (!target) return errno == ENOENT || errno == ENOTDIR || why.say_errno({"make `", path, "` read-only"});
  const unique_fd tree(open_tree(target.get(), "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE));
  return (tree && set_attributes(tree.get(), true, MOUNT_ATTR_RDONLY, 0) &&
          move_mount(tree.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0) ||
         why.say_errno({"make `", path, "` read-only"});
}
}  // namespace

bool attach_tree(int root, int tree, bool folder, std::string_view path, std::string_view source, problem& why) {
  const unique_fd target = make_in_root(root, path, folder ? entry_kind::folder : entry_kind::file);
  struct stat info {};
  if (!target || fstat(target.get(), &info) != 0) return cannot_mount(source, path, errno, why);
  if (S_ISDIR(info.st_mode) != folder) return cannot_mount(source, path, ENOTDIR, why);
  if (move_mount(tree, "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    return cannot_mount(source, path, errno, why);
  return true;
}

bool build_root(container_plan& plan, problem& why) {
  if (mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) != 0)
    return why.say_errno({"make the mounts private"});
  if (move_mount(plan.root.get(), "", AT_FDCWD, plan.staging.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return why.say_errno({"mount the root file system"});
  const int root = plan.root.get();
  for (auto& each : plan.mounts) {
    if (each.tree) {
      if (!attach_tree(root, each.tree.get(), each.folder, each.target, each.source, why)) return false;
    } else if (!mount_new(root, each, why)) {
      return false;
    }
  }
  if (!make_devices(plan, why)) return false;
  for (const auto& path : plan.read_only)
    if (!protect(root, path.c_str(), why)) return false;
  for (const auto& path : plan.masked)
    if (!hide(root, path.c_str(), why)) return false;
  return true;
}

bool seal_root(container_plan& plan, problem& why) {
  for (const auto& each : plan.mounts)
    if ((each.options.flags & MS_RDONLY) != 0 && !each.options.bind &&
        !set_attributes(each.tree.get(), false, MOUNT_ATTR_RDONLY, 0))
      return cannot_mount(each.source, each.target, errno, why);
  if (plan.read_only_root && !set_attributes(plan.root.get(), false, MOUNT_ATTR_RDONLY, 0))
    return why.say_errno({"make the root read-only"});
  if (fchdir(plan.root.get()) != 0) return why.say_errno({"enter the root"});
  // The old root comes to lie over the new one and is taken off.
  if (syscall(SYS_pivot_root, ".", ".") != 0) return why.say_errno({"pivot_root"});
  if (umount2(".", MNT_DETACH) != 0) return why.say_errno({"detach the machine's root"});
  if (chdir("/") != 0) return why.say_errno({"chdir `/`"});
  const unsigned long propagation = plan.root_propagation;
  if (propagation != 0 &&
      mount(nullptr, "/", nullptr, propagation | (plan.root_propagation_below ? MS_REC : 0), nullptr) != 0)
    return why.say_errno({"set the propagation of the root"});
  return true;
}

}  // namespace arca::guest::native
