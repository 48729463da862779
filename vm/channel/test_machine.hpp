// A real machine for tests: QEMU with TCG, the guest's kernel, the agent as process 1, busybox below /testroot. No
// network, no disk.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "persistence/base/text.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/agent_client.hpp"

namespace arca::vm::testing {

/// Makes the guest if need be (`arca setup`, in the build folder). Empty: machines can be made; else what is missing on
/// this host. Throws when something is broken.
std::string reason_not_to_boot();

class test_machine {
 public:
  /// Starts QEMU; throws when that fails. `words` are added to the kernel's command line, `arguments` to QEMU's.
  explicit test_machine(const std::string& words = {}, const std::vector<std::string>& arguments = {});
  test_machine(const test_machine&) = delete;
  test_machine& operator=(const test_machine&) = delete;
  ~test_machine();

  /// A new connection with a client over it; throws.
  std::shared_ptr<agent_client> connect(int deadline_ms = 30'000) const;
  const std::string& socket_path() const { return socket_; }
  const std::string& secret() const { return secret_; }
  std::string console() const;
  /// Processor time that QEMU has used, ms: what a measurement on a busy host can go by.
  double cpu_ms() const;
  /// From now on nothing in it answers.
  void freeze() const { ::kill(pid_, SIGSTOP); }
  void kill() const { ::kill(pid_, SIGKILL); }
  /// Exit status of QEMU once it has ended within the time, else -1.
  int wait_ended(int limit_ms);

 private:
  std::string dir_, socket_, secret_;
  pid_t pid_ = -1;
  unique_fd pidfd_;
};

// ---- calls, waited for
inline constexpr auto limit = std::chrono::seconds(20);

inline agent_greeting greeting(uint64_t generation) {
  return {generation, std::string(32, static_cast<char>(generation)), now_nanos()};
}
inline result<agent_hello> hello(agent_client& agent, const agent_greeting& what) {
  return wait_for<agent_hello>([&](auto done) { agent.hello(what, limit, done); });
}
template <class Start>
result<void> call(Start start) {
  return wait_for<void>(start);
}
template <class T>
std::string why(const result<T>& r) {
  return r ? "" : r.error().message();
}
inline result<unique_fd> open_tunnel(agent_client& agent, const agent_tunnel& where) {
  return wait_for<unique_fd>([&](auto done) { agent.tunnel(where, limit, done); });
}

}  // namespace arca::vm::testing
