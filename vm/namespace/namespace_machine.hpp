// vm::machine as an arca-guest process in namespaces of its own.
#pragma once
#include <atomic>

#include "vm/agent_client.hpp"
#include "vm/machine.hpp"
#include "vm/namespace/guest_process.hpp"

namespace arca::vm {

class namespace_backend;

class namespace_machine final : public machine {
 public:
  namespace_machine(namespace_backend& backend, machine_identity identity, bool host_network);
  ~namespace_machine() override;

  const machine_identity& identity() const override { return identity_; }
  result<void> boot(int deadline_ms) override;
  result<agent_hello> adopt(int deadline_ms) override;
  agent_client& agent() override { return *client_; }
  result<unique_fd> connect_stdio(const std::string& container, const std::string& process,
                                  uint64_t first_sequence) override;
  result<attached_rootfs> attach_rootfs(const rootfs_spec& rootfs) override;
  result<std::string> share(unique_fd source, bool read_only, bool recursive) override;
  result<void> finish_shares() override { return {}; }
  bool on_host_kernel() const override { return true; }
  result<unique_fd> open_root(int64_t init_pid) override;
  result<joined_source> join(const std::string& what, const namespace_donor& donor) override;
  result<void> attach_nic(const nic_spec& nic) override;
  result<void> detach_nic(const std::string& name) override;
  result<void> pause() override;
  result<void> resume() override;
  result<void> kill_container() override;
  void kill() override;
  int exit_fd() const override { return pidfd_.get(); }
  void destroy() override;
  std::string boot_log(size_t limit) const override;

 private:
  result<agent_hello> connect(int deadline_ms);
  /// Sends a descriptor to the agent, which keeps it under the token that is returned.
  result<std::string> hand_over(int fd, const char* what);

  namespace_backend& backend_;
  machine_identity identity_;
  const bool host_network_;
  unique_fd pidfd_, pool_socket_;
  std::shared_ptr<agent_client> client_;
  std::atomic<uint32_t> tokens_ = 0;
  std::atomic<bool> destroyed_ = false;
};

}  // namespace arca::vm
