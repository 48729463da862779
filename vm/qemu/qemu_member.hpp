// vm::machine as one container's part in a virtual machine, which it has alone or shares with others.
#pragma once
#include "vm/qemu/qemu_machine.hpp"

namespace arca::vm {

class qemu_member final : public machine {
 public:
  /// Before boot. `cgroup`: the container's, inside. `joins`: the machine runs, and others are in it.
  qemu_member(std::shared_ptr<qemu_machine> box, std::string container, std::string cgroup, bool joins);
  /// Before adopt.
  qemu_member(std::shared_ptr<qemu_machine> box, machine_identity identity);
  ~qemu_member() override;

  const machine_identity& identity() const override { return identity_; }
  result<void> boot(int deadline_ms) override;
  result<agent_hello> adopt(int deadline_ms) override;
  bool is_joined() const override { return joins_; }
  std::string container_cgroup() const override { return joins_ ? cgroup_ : identity_.cgroup; }
  agent_client& agent() override { return *client_; }
  result<unique_fd> connect_stdio(const std::string& container, const std::string& process,
                                  uint64_t first_sequence) override;
  result<std::optional<stdio::hello>> exec_hello(const std::string& container,
                                                 const std::string& process) const override;
  result<attached_rootfs> attach_rootfs(const rootfs_spec& rootfs) override {
    return box_->attach_rootfs(files_, rootfs);
  }
  bool on_host_kernel() const override { return false; }
  result<unique_fd> open_root(int64_t) override { return box_->open_root(identity_.id); }
  result<joined_source> join(const std::string& what, const namespace_donor& donor) override;
  result<std::string> share(unique_fd source, bool read_only, bool recursive) override {
    return box_->share(files_, std::move(source), read_only, recursive);
  }
  result<std::string> share_socket(unique_fd socket) override { return box_->share_socket(std::move(socket)); }
  result<void> finish_shares() override { return box_->finish_shares(files_); }
  result<void> attach_nic(const nic_spec& nic) override { return box_->attach_nic(identity_.id, nic); }
  result<void> detach_nic(const std::string& name) override { return box_->detach_nic(identity_.id, name); }
  result<void> pause() override { return box_->pause(identity_.id); }
  result<void> resume() override { return box_->resume(identity_.id); }
  result<void> kill_container() override { return box_->kill_container(identity_.id); }
  void kill() override { box_->kill(); }
  int exit_fd() const override { return box_->exit_fd(); }
  void destroy() override;
  std::string boot_log(size_t limit) const override { return box_->boot_log(limit); }
  machine_description describe() const override { return box_->describe(); }
  void start_is_over(const stage_times& engine_stages) override {
    if (!joins_) box_->start_is_over(engine_stages);
  }
  void keep_start() override {
    if (!joins_) box_->keep_start();
  }

 private:
  /// The machine answers: what is its own is known now.
  void settle();
  result<stdio::hello> hello_of(const std::string& container, const std::string& process,
                                uint64_t first_sequence) const;

  const std::shared_ptr<qemu_machine> box_;
  machine_identity identity_;
  const std::string cgroup_;
  const bool joins_;
  bool is_inside_;  ///< there is something to leave
  member_files files_;
  std::shared_ptr<agent_client> client_;
  std::atomic<bool> destroyed_ = false;
};

}  // namespace arca::vm
