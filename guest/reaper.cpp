#include "guest/reaper.hpp"

#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <vector>

namespace arca::guest {
namespace {
constexpr int vanished = 255;  // somebody else collected it: cannot happen with crun, but must not hang

int code_of(const siginfo_t& how) {
  return how.si_code == CLD_EXITED ? how.si_status : 128 + how.si_status;
}
}  // namespace

reaper::reaper(loop& on) : loop_(on) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  signals_.reset(signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) throw std::system_error(errno, std::generic_category(), "signalfd");
  loop_.watch(signals_.get(), EPOLLIN, [this](uint32_t) {
    std::array<signalfd_siginfo, 16> drained;
    while (read(signals_.get(), drained.data(), sizeof drained) == static_cast<ssize_t>(sizeof drained)) {
    }
    look_();
    collect();
  });
}

reaper::~reaper() {
  loop_.forget(signals_.get());
}

void reaper::expect(pid_t pid, ended on_end, bool early) {
  expected_[pid] = {std::move(on_end), early};
  loop_.post([this] { collect(); });
}

void reaper::launch_ends() {
  if (--launches_ == 0) loop_.post([this] { collect(); });
}

void reaper::report(pid_t pid, int code) {
  const auto found = expected_.find(pid);
  if (found == expected_.end()) return;
  const auto tell = std::move(found->second.on_end);
  expected_.erase(found);
  tell(code);
}

// False: there is none, errno tells why (0: none that has ended).
bool reaper::collect_one(idtype_t which, id_t id) {
  siginfo_t how{};
  errno = 0;
  if (waitid(which, id, &how, WEXITED | WNOHANG | WNOWAIT) != 0 || how.si_pid == 0) return false;
  const auto expected = expected_.find(how.si_pid);
  if (expected != expected_.end() && expected->second.early) report(how.si_pid, code_of(how));
  const bool collected = waitpid(how.si_pid, nullptr, WNOHANG) == how.si_pid;
  report(how.si_pid, code_of(how));
  return collected;
}

void reaper::collect() {
  // Strays go in one sweep; expected children are found by it as well.
  while (launches_ == 0 && collect_one(P_ALL, 0)) {
  }
  std::vector<pid_t> pids;
  pids.reserve(expected_.size());
  for (const auto& [pid, tell] : expected_) pids.push_back(pid);
  for (const pid_t pid : pids) {
    if (collect_one(P_PID, static_cast<id_t>(pid)) || errno != ECHILD) continue;
    if (kill(pid, 0) != 0 && errno == ESRCH) report(pid, vanished);
  }
}

}  // namespace arca::guest
