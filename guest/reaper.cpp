#include "guest/reaper.hpp"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <vector>

namespace arca::guest {
namespace {
constexpr int vanished = 255;  // somebody else collected it: cannot happen with crun, but must not hang

int code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
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

void reaper::expect(pid_t pid, ended on_end) {
  expected_[pid] = std::move(on_end);
  loop_.post([this] { collect(); });
}

void reaper::launch_ends() {
  if (--launches_ == 0) loop_.post([this] { collect(); });
}

bool reaper::report(pid_t pid, int status) {
  const auto found = expected_.find(pid);
  if (found == expected_.end()) return false;
  const auto tell = std::move(found->second);
  expected_.erase(found);
  tell(code_of(status));
  return true;
}

void reaper::collect() {
  int status = 0;
  // Strays go in one sweep; expected children are found by it as well.
  while (launches_ == 0) {
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) break;
    report(pid, status);
  }
  std::vector<pid_t> pids;
  pids.reserve(expected_.size());
  for (const auto& [pid, tell] : expected_) pids.push_back(pid);
  for (const pid_t pid : pids) {
    const pid_t got = waitpid(pid, &status, WNOHANG);
    if (got == pid) {
      report(pid, status);
    } else if (got < 0 && errno == ECHILD && kill(pid, 0) != 0 && errno == ESRCH) {
      report(pid, W_EXITCODE(vanished, 0));
    }
  }
}

}  // namespace arca::guest
