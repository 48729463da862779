// vm::machine as a virtual machine under QEMU. Boot, adoption, devices and end are in files of their own.
//
// Locks: `devices_lock_` is held by one change of the machine's devices at a time (a NIC and the shares are plugged at
// the same time by the engine); calls to QEMU and the agent are made without it.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "vm/agent_client.hpp"
#include "vm/machine.hpp"
#include "vm/qemu/device_plan.hpp"
#include "vm/qemu/machine_files.hpp"
#include "vm/qemu/qemu_backend.hpp"
#include "vm/relay/socket_relays.hpp"

namespace arca::vm {

class qemu_machine final : public machine {
 public:
  /// Before boot.
  qemu_machine(qemu_backend& backend, machine_identity identity, machine_order order, guest_image guest);
  /// Before adopt.
  qemu_machine(qemu_backend& backend, machine_identity identity);
  /// One that was not destroyed runs on for whoever adopts it.
  ~qemu_machine() override;

  const machine_identity& identity() const override { return identity_; }
  /// Waits its turn among the cold boots first; the deadline begins then.
  result<void> boot(int deadline_ms) override;
  /// Without a turn.
  result<void> boot_on(accelerator kind, int deadline_ms);
  /// For the pool: boots and stops; another one becomes it.
  result<void> boot_idle(int deadline_ms);
  const std::string& guest_version() const { return record_.guest; }
  result<void> adopt(int deadline_ms) override;
  agent_client& agent() override { return *client_; }
  result<unique_fd> connect_stdio(const std::string& container, const std::string& process,
                                  uint64_t first_sequence) override;
  result<attached_rootfs> attach_rootfs(const rootfs_spec& rootfs) override;
  bool on_host_kernel() const override { return false; }
  result<unique_fd> open_root(int64_t init_pid) override;
  result<std::string> share(unique_fd source, bool read_only, bool recursive) override;
  result<std::string> share_socket(unique_fd socket) override;
  result<void> finish_shares() override;
  result<void> attach_nic(const nic_spec& nic) override;
  result<void> detach_nic(const std::string& name) override;
  result<void> pause() override;
  result<void> resume() override;
  result<void> kill_containers() override;
  void kill() override;
  int exit_fd() const override { return qemu_.pidfd.get(); }
  void destroy() override;
  std::string boot_log(size_t limit) const override;
  machine_description describe() const override;
  void start_is_over(const stage_times& engine_stages) override;
  void keep_start() override;

 private:
  struct waiting_share {
    unique_fd tree;
    std::string name;  ///< of the entry in the share; the token is "share-" and it
    bool is_folder = true, read_only = false, recursive = false;
  };

  /// What QEMU reported about its end; written on the QMP thread.
  struct end_reason {
    std::mutex lock;
    std::string text;
  };

  // boot and adoption
  result<void> boot_cold(int deadline_ms);
  /// Becomes the stopped machine and lets it go on. False: there was none, or it did not answer; then it is gone.
  bool wake_idle(int deadline_ms);
  result<void> prepare_folder(accelerator kind);
  result<void> start(accelerator kind);
  result<void> connect(int deadline_ms);  ///< QMP
  result<void> greet(int deadline_ms);    ///< handshake and Hello
  result<void> say_hello(int deadline_ms);
  result<void> reopen_processes();
  /// `failure` with what QEMU or the guest's console said about it.
  error explained(const error& failure) const;

  void resume_relays();

  // devices
  using json = nlohmann::json;
  result<void> serve_share(const share_plan& plan);
  /// The device of a descriptor (`fd` goes to QEMU) with its backend; frees its port when that fails.
  result<void> plug(const std::string& kind, const std::string& name, int fd, const std::string& add_backend,
                    const std::function<json(const plugged_device&)>& backend_options,
                    const std::function<json(const plugged_device&)>& device_options,
                    const std::string& remove_backend);
  result<void> mount_inside(const agent_mount& what);
  result<void> finish_rootfs();
  result<void> serve_waiting_shares();
  void watch_share(const child_process& server);

  /// Notes how long a stage of the start took.
  void stage(const char* name, std::chrono::steady_clock::time_point since);
  result<void> save_record();  ///< with devices_lock_ held

  qemu_backend& backend_;
  machine_identity identity_;
  const machine_order order_;
  const guest_image guest_;
  machine_record record_;
  unique_fd lock_file_;
  child_process qemu_;
  std::unique_ptr<qmp_client> qmp_;
  std::shared_ptr<agent_client> client_;
  std::unique_ptr<socket_relays> relays_;  ///< made with the first; devices_lock_
  std::shared_ptr<start_account> account_ = std::make_shared<start_account>();

  mutable std::mutex devices_lock_;
  device_plan devices_{0};
  std::vector<child_process> share_servers_;
  std::vector<waiting_share> waiting_shares_;
  bool started_ = false;                    ///< no stage of its start any more
  std::future<result<void>> rootfs_ready_;  ///< shared and mounted beside what the caller does until finish_shares
  unsigned rootfs_count_ = 0, share_count_ = 0, served_count_ = 0;

  std::atomic<bool> paused_ = false, destroyed_ = false;
  std::shared_ptr<end_reason> end_reason_ = std::make_shared<end_reason>();
};

}  // namespace arca::vm
