// Machines that are virtual machines under QEMU: makes them, takes over those of an earlier daemon, removes what nobody
// owns. They live in RUN_ROOT/vm and below a cgroup parent of their own, so that the sweeps of the two kinds of machine
// never meet.
#pragma once
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "vm/backend.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/qemu/boot_queue.hpp"
#include "vm/qemu/command_line.hpp"
#include "vm/qemu/kvm_probe.hpp"
#include "vm/qemu/log_limits.hpp"
#include "vm/qemu/machine_size.hpp"
#include "vm/qemu/qemu_pool.hpp"
#include "vm/qemu/qmp_client.hpp"
#include "vm/qemu/virtiofsd.hpp"
#include "vm/qemu/vm_status.hpp"

namespace arca::vm {

enum class accelerator_choice : uint8_t { automatic, kvm, tcg };

struct qemu_backend_settings {
  std::string run_root;                        ///< machines live in RUN_ROOT/vm
  std::string data_root;                       ///< the verdict on KVM is kept in DATA_ROOT/kvm.json
  std::function<result<guest_image>()> guest;  ///< the one for new machines; asked at each make()
  std::string qemu = "/usr/bin/qemu-system-x86_64";
  accelerator_choice accelerator = accelerator_choice::automatic;
  std::string cgroup_parent = "/arca-vm";
  machine_size size{256, 1};  ///< of machines of containers without limits
  /// Stopped machines kept ready, about 200 MB each under TCG; not given: as automatic_pool_size finds.
  std::optional<unsigned> pool = 0;
  uint64_t pool_memory_mib = 0;            ///< what they may have together; 0: no limit
  std::chrono::milliseconds pool_idle{0};  ///< after the last start, before they are given up until the next; 0: never
  std::function<void(const kvm_verdict&)> on_verdict;  ///< called on the thread that found it; may be empty
};

class qemu_machine;

class qemu_backend final : public backend {
 public:
  explicit qemu_backend(qemu_backend_settings settings);
  /// Running machines stay for a later daemon.
  ~qemu_backend() override;

  void start_pool() override;
  /// errc::unsupported with the remedy when there is no guest, QEMU or virtiofsd.
  result<std::unique_ptr<machine>> make(const machine_order& order) override;
  std::unique_ptr<machine> reopen(const machine_identity& identity) override;
  std::string cgroup_of(const std::string& id, uint64_t generation, const std::string& parent) const override;
  void sweep() override;
  exit_watch& exits() override { return exits_; }
  uint64_t generation() const override { return generation_; }

  /// What new machines run on, and why. Waits for a probe that is under way (5 s at most, once per boot of the host).
  kvm_verdict acceleration();
  /// For people. Looks again at what may have changed (QEMU, the guest); what only a probe can tell is probed in the
  /// background. Blocks for milliseconds.
  vm_status look();

  // For the pool, and from it. An order that asks for what is not the default gets none (null).
  result<std::unique_ptr<qemu_machine>> make_idle();
  std::unique_ptr<qemu_machine> take_idle(const machine_order& order, const std::string& guest_version);
  qemu_pool& pool() { return pool_; }

  // For qemu_machine: what all machines share.
  const qemu_backend_settings& settings() const { return settings_; }
  const std::string& machines_dir() const { return machines_dir_; }
  accelerator choose_accelerator();
  result<virtiofsd_program> virtiofsd();
  uint64_t tsc_khz() const { return tsc_khz_; }
  boot_queue& boots() { return boots_; }
  qmp_loop& loop() { return loop_; }
  log_limits& logs() { return logs_; }
  /// Others can be put into it, or take it over, by its folder.
  void remember(const std::string& dir, std::weak_ptr<qemu_machine> box);
  void own(const std::string& dir, const std::string& cgroup);
  void disown(const std::string& dir, const std::string& cgroup);

 private:
  result<std::unique_ptr<qemu_machine>> make_vm(const machine_order& order);
  result<void> boot_with_kvm(int deadline_ms);
  std::string known_qemu_version();
  /// Finds the verdict out in the background, unless it is known or being found out. With lock_ held.
  void probe_in_background();

  const qemu_backend_settings settings_;
  const std::string machines_dir_;
  const uint64_t generation_, tsc_khz_;
  std::mutex lock_;
  std::multiset<std::string> dirs_, cgroups_;
  std::map<std::string, std::weak_ptr<qemu_machine>> machines_;  ///< that run, by folder
  std::condition_variable probed_;
  bool probing_ = false, in_background_ = false;
  std::optional<kvm_verdict> verdict_;
  bool verdict_is_final_ = false;  ///< no: found without a guest, so that the next look finds it again
  std::string qemu_version_;
  std::optional<virtiofsd_program> virtiofsd_;
  boot_queue boots_;
  exit_watch exits_;
  qmp_loop loop_;
  log_limits logs_;
  std::thread prober_;
  qemu_pool pool_;
};

}  // namespace arca::vm
