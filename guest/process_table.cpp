#include "guest/process_table.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "persistence/base/unique_fd.hpp"

namespace arca::guest {
namespace {
constexpr size_t longest_stat = 1024, longest_command = 4096, most_bytes = 2u << 20;

// The beginning of a file below `folder`; empty when there is none.
std::string beginning(int folder, const char* name, size_t most) {
  std::string out(most, '\0');
  const unique_fd file(openat(folder, name, O_RDONLY | O_CLOEXEC));
  const ssize_t n = file ? read(file.get(), out.data(), out.size()) : 0;
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}
}  // namespace

process_table read_processes(const std::vector<pid_t>& pids) {
  process_table out;
  out.now = time(nullptr);
  out.uptime = std::strtod(beginning(AT_FDCWD, "/proc/uptime", 128).c_str(), nullptr);
  long kib = 0;
  if (std::sscanf(beginning(AT_FDCWD, "/proc/meminfo", 128).c_str(), "MemTotal: %ld", &kib) == 1) out.memory_kib = kib;
  size_t bytes = 0;
  for (const pid_t pid : pids) {
    const unique_fd folder(open(("/proc/" + std::to_string(pid)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    struct stat info {};
    if (!folder || fstat(folder.get(), &info) != 0) continue;
    process_facts one{pid, beginning(folder.get(), "stat", longest_stat), {}, info.st_uid};
    if (one.stat.empty()) continue;  // ended meanwhile
    one.command = beginning(folder.get(), "cmdline", longest_command);
    bytes += sizeof one + one.stat.size() + one.command.size();
    if (bytes > most_bytes) break;
    out.processes.push_back(std::move(one));
  }
  return out;
}

}  // namespace arca::guest
