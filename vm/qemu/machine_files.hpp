// The run folder of a virtual machine: RUN_ROOT/vm/NAME, mode 0700.
//   machine.json   what adoption and sweep need; 0600, it holds the secret of the agent's port
//   qmp.sock, agent.sock   listening sockets, made here, served by QEMU
//   console.log, qemu.log, virtiofsd-TAG.log   bounded by log_limits.hpp
//   lock           held by the daemon that uses the machine
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/machine.hpp"

namespace arca::vm {

namespace machine_file {
inline constexpr const char* record = "machine.json";
inline constexpr const char* qmp_socket = "qmp.sock";
inline constexpr const char* agent_socket = "agent.sock";
inline constexpr const char* console = "console.log";
inline constexpr const char* qemu_log = "qemu.log";
inline constexpr const char* lock = "lock";
}  // namespace machine_file

struct recorded_process {
  std::string name;  ///< "qemu", "virtiofsd-root"
  int64_t pid = 0;
  uint64_t start_time = 0;
  std::string owner = {};  ///< of a server of files: id of the container that it is for
};

/// machine.json.
struct machine_record {
  std::string id, cgroup, boot_id, secret;
  std::string guest;        ///< version of the guest it was booted from (DATA_ROOT/guest/VERSION)
  std::string accelerator;  ///< "tcg", "kvm"
  uint64_t memory_mib = 0;
  unsigned cpus = 0;
  std::vector<recorded_process> processes;
  std::vector<std::string> members;  ///< ids of the containers that are inside, or on their way
  stage_times stages;                ///< of the machine's start
  stage_times engine_stages;         ///< of what the engine did for the container
  std::vector<start_step> timeline;
  nlohmann::json devices;  ///< device_plan
};

std::string to_json(const machine_record& record);
result<machine_record> machine_record_from_json(const std::string& text);
result<machine_record> read_machine_record(const std::string& dir);
result<void> write_machine_record(const std::string& dir, const machine_record& record);

/// A listening unix socket with mode 0600 at `path`.
result<unique_fd> listen_at(const std::string& path);
/// Waits at most `deadline_ms` for room in its backlog.
result<unique_fd> connect_to(const std::string& path, int deadline_ms);
/// errc::conflict when another process (or object) uses the machine after `patience_ms`.
result<unique_fd> lock_machine(const std::string& dir, int patience_ms);

}  // namespace arca::vm
