#include "vm/qemu/boot_files.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {

constexpr size_t most_maps = 4u << 20;  ///< of /proc/PID/maps

/// Where the file is mapped (proc_pid_maps(5): "begin-end perms offset major:minor inode path").
std::vector<iovec> places_of(const std::string& maps, const struct stat& file) {
  std::vector<iovec> out;
  for (const auto& line : split(maps, '\n')) {
    unsigned long begin = 0, end = 0, inode = 0;
    unsigned major_number = 0, minor_number = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %*x %x:%x %lu", &begin, &end, &major_number, &minor_number, &inode) != 5)
      continue;
    if (inode == file.st_ino && makedev(major_number, minor_number) == file.st_dev)
      out.push_back({reinterpret_cast<void*>(begin), end - begin});
  }
  return out;
}

}  // namespace

result<void> release_boot_files(const child_process& qemu, const std::vector<std::string>& files) {
  ARCA_TRY(maps, fs::read_file("/proc/" + std::to_string(qemu.pid) + "/maps", most_maps));
  for (const auto& path : files) {
    ARCA_TRY(file, fs::open(path, O_RDONLY));
    struct stat info {};
    if (fstat(file.get(), &info) != 0) return fail_errno("stat " + path);
    auto places = places_of(maps, info);
    if (places.empty()) continue;
    if (syscall(SYS_process_madvise, qemu.pidfd.get(), places.data(), places.size(), MADV_PAGEOUT, 0) < 0)
      return fail_errno("process_madvise");
    (void)posix_fadvise(file.get(), 0, 0, POSIX_FADV_WILLNEED);
  }
  return {};
}

}  // namespace arca::vm
