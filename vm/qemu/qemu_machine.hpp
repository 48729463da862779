// A virtual machine under QEMU, which one container or several run in: each has a qemu_member of its own, and `owner`
// is always the id of a container. Boot, adoption, devices, membership and end are in files of their own.
//
// Locks: `devices_lock_` is held by one change of the machine's devices at a time (a NIC and the shares are plugged at
// the same time by the engine), and guards who is inside; calls to QEMU and the agent are made without it.
// `running_lock_` is held while the machine is stopped, let go on, or taken over; it comes before `devices_lock_`.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "vm/agent_client.hpp"
#include "vm/machine.hpp"
#include "vm/qemu/device_plan.hpp"
#include "vm/qemu/machine_files.hpp"
#include "vm/qemu/qemu_backend.hpp"
#include "vm/relay/socket_relays.hpp"

namespace arca::vm {

/// What is made for a container before it is created: its root and its other files, shared and mounted inside.
struct member_files {
  struct waiting_share {
    unique_fd tree;
    std::string name;  ///< of the entry in the share; the token is "share-" and it
    bool is_folder = true, read_only = false, recursive = false;
  };
  std::string owner;
  std::vector<waiting_share> waiting;
  std::future<result<void>> rootfs;  ///< made beside what the caller does until finish_shares
};

class qemu_machine final : public std::enable_shared_from_this<qemu_machine> {
 public:
  /// Before boot.
  qemu_machine(qemu_backend& backend, machine_identity identity, machine_order order, guest_image guest);
  /// Before adopt.
  qemu_machine(qemu_backend& backend, machine_identity identity);
  /// One that was not destroyed runs on for whoever adopts it.
  ~qemu_machine();
  qemu_machine(const qemu_machine&) = delete;
  qemu_machine& operator=(const qemu_machine&) = delete;

  /// Its id is that of the first container.
  const machine_identity& identity() const { return identity_; }
  /// Waits its turn among the cold boots first; the deadline begins then.
  result<void> boot(int deadline_ms);
  /// Without a turn.
  result<void> boot_on(accelerator kind, int deadline_ms);
  /// For the pool: boots and stops; another one becomes it.
  result<void> boot_idle(int deadline_ms);
  const std::string& guest_version() const { return record_.guest; }
  uint64_t generation() const { return backend_.generation(); }
  /// Takes the machine over when that has not been done, and asks what runs inside. A stopped one runs for that time.
  result<agent_hello> adopt(int deadline_ms);
  /// After boot or adopt. A client of the container's own: its events and tunnels are no other's.
  std::shared_ptr<agent_client> client_for(const std::string& owner) const;

  // ---- who is inside (qemu_machine_members.cpp)
  /// Another container comes in. errc::gone when the machine has ended or is about to.
  result<void> join(const std::string& owner);
  /// A qemu_member of that container is there, or not any more.
  void attach(const std::string& owner);
  void detach(const std::string& owner);
  /// The container is over. True: it was the last, and the machine is to be destroyed; else part_with is to be called.
  bool begin_leaving(const std::string& owner);
  /// Ends and forgets what the container has left inside, while others go on.
  void part_with(const std::string& owner);
  /// Containers that no qemu_member is there for leave.
  void drop_strangers();

  // ---- devices
  result<machine::attached_rootfs> attach_rootfs(member_files& of, const rootfs_spec& rootfs);
  result<unique_fd> open_root(const std::string& owner) const;
  result<std::string> share(member_files& of, unique_fd source, bool read_only, bool recursive);
  result<void> finish_shares(member_files& of);
  /// A socket of the host (O_PATH): the token of the mount inside that leads to it.
  result<std::string> share_socket(unique_fd socket);
  /// The first container's NIC is the machine's own, another's is in a network namespace that is made for it.
  result<void> attach_nic(const std::string& owner, const nic_spec& nic);
  result<void> detach_nic(const std::string& owner, const std::string& name);

  /// The only container's machine is stopped, one of several is frozen by the agent.
  result<void> pause(const std::string& owner);
  result<void> resume(const std::string& owner);
  /// The machine ends when its agent does not do it.
  result<void> kill_container(const std::string& owner);
  void kill();
  int exit_fd() const { return qemu_.pidfd.get(); }
  void destroy();
  std::string boot_log(size_t limit) const;
  machine_description describe() const;
  void start_is_over(const stage_times& engine_stages);
  void keep_start();

 private:
  /// What QEMU reported about its end; written on the QMP thread.
  struct end_reason {
    std::mutex lock;
    std::string text;
  };
  /// A virtiofsd. Its end is the machine's, unless it is wanted.
  struct share_server {
    std::string tag;
    child_process process;
    std::shared_ptr<std::atomic<bool>> may_end = std::make_shared<std::atomic<bool>>(false);
  };

  // boot and adoption
  result<void> boot_cold(int deadline_ms);
  /// Becomes the stopped machine and lets it go on. False: there was none, or it did not answer; then it is gone.
  bool wake_idle(int deadline_ms);
  result<void> prepare_folder(accelerator kind);
  result<void> start(accelerator kind);
  result<void> connect(int deadline_ms);       ///< QMP
  result<agent_hello> greet(int deadline_ms);  ///< handshake and Hello
  result<agent_hello> say_hello(int deadline_ms);
  result<void> take_over(int deadline_ms);
  result<void> stop();
  result<void> go_on();
  /// Another container is in the stopped machine of `first`: only that one is paused from now on.
  result<void> freeze_alone(const std::string& first);
  result<void> reopen_processes();
  /// `failure` with what QEMU or the guest's console said about it.
  error explained(const error& failure) const;

  void resume_relays();
  void release_boot_files();

  // devices
  using json = nlohmann::json;
  result<void> serve_share(const std::string& owner, const share_plan& plan);
  /// The device of a descriptor (`fd` goes to QEMU) with its backend; frees its port when that fails.
  result<void> plug(const std::string& kind, const std::string& name, const std::string& owner, int fd,
                    const std::string& add_backend, const std::function<json(const plugged_device&)>& backend_options,
                    const std::function<json(const plugged_device&)>& device_options,
                    const std::string& remove_backend);
  result<void> mount_inside(const agent_mount& what);
  result<void> serve_waiting_shares(member_files& of);
  void watch_share(const share_server& server);
  // With devices_lock_ held. What is struck out of the record, a daemon after this one does not expect to live.
  const share_server* find_server(const std::string& tag) const;
  std::optional<recorded_process> recorded_server(const std::string& tag) const;
  void strike_out_server(const std::string& tag);
  /// Strikes it out and forgets it.
  std::optional<child_process> take_server(const std::string& tag);
  static void end_server(const child_process& server);
  /// Plain for the first container, numbered for others. With devices_lock_ held.
  std::string tag_for(const std::string& owner, const char* base);
  result<void> unplug(const plugged_device& device, const std::string& remove_backend);
  void unplug_share(const plugged_device& device);
  void forget_inside(const std::string& owner);

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
  std::vector<std::string> boot_files_;  ///< that it has mapped, and reads no more
  std::unique_ptr<qmp_client> qmp_;
  std::shared_ptr<agent_client> client_;
  std::unique_ptr<socket_relays> relays_;  ///< made with the first; devices_lock_
  std::shared_ptr<start_account> account_ = std::make_shared<start_account>();

  mutable std::mutex devices_lock_;
  device_plan devices_{0};
  std::vector<share_server> share_servers_;
  bool started_ = false;  ///< no stage of its start any more
  unsigned share_count_ = 0;
  std::multiset<std::string> attached_;
  std::set<std::string> leaving_;
  bool ending_ = false;  ///< the last one has left, or is about to
  std::condition_variable left_;

  std::mutex running_lock_;
  std::optional<error> lost_;  ///< why it could not be taken over
  std::atomic<bool> paused_ = false, destroyed_ = false;
  std::shared_ptr<end_reason> end_reason_ = std::make_shared<end_reason>();
};

}  // namespace arca::vm
