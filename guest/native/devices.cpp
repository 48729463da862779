#include "guest/native/devices.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstring>

#include "guest/native/below.hpp"

namespace arca::guest::native {
namespace {

struct link_entry {
  const char *target, *name;
};
constexpr link_entry links[] = {{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
                                {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
                                {"/proc/kcore", "core"},       {"pts/ptmx", "ptmx"}};

bool same_node(int folder, const char* name, const device_plan& device) {
  struct stat info {};
  return fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && (info.st_mode & S_IFMT) == (device.mode & S_IFMT) &&
         (S_ISFIFO(device.mode) || info.st_rdev == device.number);
}

bool make_node(int root, const device_plan& device, problem& why) {
  const char* path = device.path.c_str();
  const char* name = std::strrchr(path, '/') + 1;
  const unique_fd folder = make_in_root(root, {path, static_cast<size_t>(name - path)}, entry_kind::folder);
  if (!folder) return why.say_errno({"mknod `", path, "`"});
  if (same_node(folder.get(), name, device)) return true;
  if (unlinkat(folder.get(), name, 0) != 0 && errno != ENOENT) return why.say_errno({"mknod `", path, "`"});
  if (mknodat(folder.get(), name, device.mode, device.number) != 0 ||
      fchownat(folder.get(), name, device.uid, device.gid, AT_SYMLINK_NOFOLLOW) != 0)
    return why.say_errno({"mknod `", path, "`"});
  return true;
}
}  // namespace

bool make_devices(const container_plan& plan, problem& why) {
  const int root = plan.root.get();
  const mode_t before = umask(0);
  bool good = true;
  for (const auto& device : plan.devices) good = good && make_node(root, device, why);
  umask(before);
  if (!good || !plan.standard_devices) return good;
  const unique_fd dev = open_in_root(root, "/dev", O_PATH | O_DIRECTORY);
  if (!dev) return why.say_errno({"open `/dev`"});
  for (const auto& link : links) {
    const bool is_ptmx = std::strcmp(link.name, "ptmx") == 0;
    if (is_ptmx && unlinkat(dev.get(), link.name, 0) != 0 && errno != ENOENT)  // an image's own node is another devpts
      return why.say_errno({"symlink `/dev/ptmx`"});
    if (symlinkat(link.target, dev.get(), link.name) != 0 && errno != EEXIST)
      return why.say_errno({"symlink `/dev/", link.name, "`"});
  }
  return true;
}

}  // namespace arca::guest::native
