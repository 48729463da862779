// vm::machine as a virtual machine under QEMU. Boot, adoption, devices and end are in files of their own.
//
// Locks: `devices_lock_` is held by one change of the machine's devices at a time (a NIC and the shares are plugged at
// the same time by the engine); calls to QEMU and the agent are made without it.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "vm/agent_client.hpp"
#include "vm/machine.hpp"
#include "vm/qemu/device_plan.hpp"
#include "vm/qemu/machine_files.hpp"
#include "vm/qemu/qemu_backend.hpp"

namespace arca::vm {

class qemu_machine final : public machine {
 public:
  /// Before boot.
  qemu_machine(qemu_backend& backend, machine_identity identity, machine_order order, guest_files guest);
  /// Before adopt.
  qemu_machine(qemu_backend& backend, machine_identity identity);
  /// One that was not destroyed runs on for whoever adopts it.
  ~qemu_machine() override;

  const machine_identity& identity() const override { return identity_; }
  result<void> boot(int deadline_ms) override;
  result<void> adopt(int deadline_ms) override;
  agent_client& agent() override { return *client_; }
  result<unique_fd> connect_stdio(const std::string& container, const std::string& process,
                                  uint64_t first_sequence) override;
  result<attached_rootfs> attach_rootfs(const rootfs_spec& rootfs) override;
  bool shares_host_paths() const { return false; }
  result<std::string> share(unique_fd source, bool read_only, bool recursive) override;
  result<void> finish_shares();
  result<void> attach_nic(const nic_spec& nic) override;
  result<void> detach_nic(const std::string& name) override;
  result<void> pause() override;
  result<void> resume() override;
  result<void> kill_containers() override;
  void kill() override;
  int exit_fd() const override { return qemu_.pidfd.get(); }
  void destroy() override;
  std::string boot_log(size_t limit) const override;

 private:
  struct waiting_share {
    unique_fd tree;
    std::string token;
    bool is_folder = true, read_only = false, recursive = false;
  };

  // boot
  result<void> prepare_folder();
  result<void> start_qemu(accelerator kind);
  result<void> wait_for_agent(int deadline_ms);
  result<void> connect_qmp(int deadline_ms);
  result<void> say_hello(unique_fd socket, int deadline_ms);
  void stage(const char* name);
  /// What QEMU or the guest's console said, for an error.
  error explained(const error& failure) const;

  // devices
  result<void> serve_share(const std::string& tag, share_plan plan);
  result<void> plug(plugged_device& device, const std::string& name, const std::string& kind,
                    const std::function<result<void>(const plugged_device&)>& add_backend, nlohmann::json device_options);
  result<void> mount_in_guest(agent_mount mount);
  void watch_share(const child_process& process);
  result<void> save_record();

  qemu_backend& backend_;
  machine_identity identity_;
  const machine_order order_;
  const guest_files guest_;
  machine_record record_;
  unique_fd lock_file_;
  child_process qemu_;
  std::unique_ptr<qmp_client> qmp_;
  unique_fd channel_;  ///< a duplicate of the agent's connection: gRPC keeps its own open longer than its client lives
  std::shared_ptr<agent_client> client_;

  std::mutex devices_lock_;
  device_plan devices_{0};
  std::vector<child_process> share_servers_;
  std::vector<waiting_share> waiting_shares_;
  unsigned rootfs_count_ = 0, share_count_ = 0;

  std::atomic<bool> paused_ = false, destroyed_ = false;
  std::chrono::steady_clock::time_point last_stage_;
};

}  // namespace arca::vm
