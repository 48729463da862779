// A real machine for tests: QEMU with TCG, the guest's kernel, the agent as process 1, busybox below /testroot. No
// network, no disk.
#pragma once
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

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
  /// Exit status of QEMU once it has ended within the time, else -1.
  int wait_ended(int limit_ms);

 private:
  std::string dir_, socket_, secret_;
  pid_t pid_ = -1;
  unique_fd pidfd_;
};

}  // namespace arca::vm::testing
