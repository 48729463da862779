#include "vm/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <charconv>
#include <csignal>

#include "persistence/base/text.hpp"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace arca::vm {
namespace {

std::string read_proc(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out(4096, '\0');
  const auto n = fd ? ::read(fd.get(), out.data(), out.size()) : -1;
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

/// One of the numbers of /proc/PID/stat, as proc(5) counts them; 0 when there is no such process.
uint64_t stat_field(pid_t pid, size_t number) {
  const auto text = read_proc("/proc/" + std::to_string(pid) + "/stat");
  const auto end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return 0;
  const auto fields = split(std::string_view(text).substr(end_of_name + 1), ' ');  // " S ppid …": field 3 is at 1
  if (fields.size() < number - 1) return 0;
  const auto& field = fields[number - 2];
  uint64_t value = 0;
  std::from_chars(field.data(), field.data() + field.size(), value);
  return value;
}

}  // namespace

uint64_t start_time_of(pid_t pid) {
  return stat_field(pid, 22);
}

pid_t parent_of(pid_t pid) {
  return static_cast<pid_t>(stat_field(pid, 4));
}

std::string host_boot_id() {
  auto id = read_proc("/proc/sys/kernel/random/boot_id");
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

bool has_ended(int pidfd) {
  return wait_for_end(pidfd, 0);
}

bool wait_for_end(int pidfd, int ms) {
  pollfd end{pidfd, POLLIN, 0};
  int n = 0;
  do n = poll(&end, 1, ms);
  while (n < 0 && errno == EINTR);
  if (n <= 0) return false;
  siginfo_t ignored{};
  waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &ignored, WEXITED | WNOHANG);
  return true;
}

void send_signal(int pidfd, int number) {
  syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0);
}

result<unique_fd> open_process(int64_t pid, uint64_t start_time) {
  unique_fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  if (!pidfd) return fail(errc::gone, "there is no such process");
  if (start_time == 0 || start_time_of(static_cast<pid_t>(pid)) != start_time)  // not ours: nothing may be sent to it
    return fail(errc::gone, "its process id is another's now");
  if (has_ended(pidfd.get())) return fail(errc::gone, "it was killed");
  return pidfd;
}

}  // namespace arca::vm
