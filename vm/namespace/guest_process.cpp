#include "vm/namespace/guest_process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "guest/proto/start.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {

std::string read_proc(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out(4096, '\0');
  const auto n = fd ? ::read(fd.get(), out.data(), out.size()) : -1;
  out.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return out;
}

// Nothing of ours, but for the agent's own failpoints (docs/failpoints.md) and where the sanitizers of a test build
// report: the agent has no stderr.
std::vector<std::string> agent_environment() {
  std::vector<std::string> out;
  if (const char* wish = ::getenv("ARCA_GUEST_FAILPOINT")) out.push_back("ARCA_FAILPOINT=" + std::string(wish));
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string_view(*entry).find("SAN_OPTIONS=") != std::string_view::npos) out.emplace_back(*entry);
#endif
  return out;
}

}  // namespace

result<guest_process> spawn_agent(const std::string& program, const std::string& dir, bool host_network) {
  if (dir.size() > guest_start::max_machine_dir)
    return fail(errc::invalid_argument, "the run root is too long: " + dir + " has more than " +
                                            std::to_string(guest_start::max_machine_dir) + " bytes");
  if (mkdir(dir.c_str(), 0700) != 0) return fail_errno("mkdir " + dir);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("socketpair");
  guest_process agent;
  agent.dir = dir;
  agent.pool_socket.reset(ends[0]);
  const unique_fd theirs(ends[1]);

  constexpr int pool_fd = 3;
  const std::string number = std::to_string(pool_fd);
  std::vector<const char*> arguments = {program.c_str(), guest_start::flag_machine_dir, dir.c_str(),
                                        guest_start::flag_pool_fd, number.c_str()};
  if (host_network) arguments.push_back(guest_start::flag_host_network);
  arguments.push_back(nullptr);
  const auto variables = agent_environment();
  std::vector<const char*> environment;
  for (const auto& v : variables) environment.push_back(v.c_str());
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (theirs.get() == pool_fd) {  // dup2 onto itself clears close-on-exec in posix_spawn
    posix_spawn_file_actions_adddup2(&actions, pool_fd, pool_fd);
  } else {
    posix_spawn_file_actions_adddup2(&actions, theirs.get(), pool_fd);
  }
  failpoint::reached("machine-folder");
  const int rc = posix_spawn(&agent.pid, program.c_str(), &actions, nullptr, const_cast<char**>(arguments.data()),
                             const_cast<char**>(environment.data()));
  posix_spawn_file_actions_destroy(&actions);
  if (rc != 0) {
    rmdir(dir.c_str());
    return fail(errno_error("start " + program, rc));
  }
  // Nobody else collects our children, so the pid cannot have been used again.
  agent.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, agent.pid, 0)));
  if (!agent.pidfd) {
    const int problem = errno;
    ::kill(agent.pid, SIGKILL);
    waitpid(agent.pid, nullptr, 0);
    (void)fs::remove_tree(dir);
    return fail(errno_error("pidfd_open", problem));
  }
  return agent;
}

result<void> wait_until_ready(const guest_process& agent, int deadline_ms) {
  pollfd ready{agent.pool_socket.get(), POLLIN, 0};
  int n = 0;
  do n = poll(&ready, 1, deadline_ms);
  while (n < 0 && errno == EINTR);
  if (n == 0) return fail(errc::timeout, "the machine's agent did not become ready in time");
  char byte = 0;
  if (n > 0 && ::read(agent.pool_socket.get(), &byte, 1) == 1 && byte == guest_start::ready) return {};
  auto log = fs::read_file(agent.dir + '/' + guest_start::log_file, 1 << 20);
  return fail(errc::internal, "the machine's agent ended at once: " + (log ? *log : std::string("no reason given")));
}

std::vector<found_agent> find_agents(const std::string& machines_dir) {
  std::vector<found_agent> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(opendir("/proc"), closedir);
  if (!proc) return found;
  const auto prefix = machines_dir + '/';
  while (const dirent* entry = readdir(proc.get())) {
    const std::string name = entry->d_name;
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} || pid <= 0) continue;
    const auto words = split(read_proc("/proc/" + name + "/cmdline"), '\0');
    if (words.size() < 3 || !ends_with(words[0], "arca-guest") || words[1] != guest_start::flag_machine_dir) continue;
    if (starts_with(words[2], prefix) && words[2].find('/', prefix.size()) == std::string::npos)
      found.push_back({pid, words[2]});
  }
  return found;
}

}  // namespace arca::vm
