// machine_manager and machine: one machine actor per start of a container. It owns the vm::machine (the container's
// part in a machine) and its agent connection, and reports upward with one-way messages only (machine_exited …). The
// bytes of processes do not pass here: actors/streams reads them from sockets that the machine actor opens.
#pragma once
#include "actors/protocol/machine_calls.hpp"
#include "actors/protocol/message.hpp"
#include "actors/protocol/network.hpp"

namespace arca {

/// A namespace of another container that the new one shares.
struct joined_namespace {
  std::string kind;          ///< "network", "ipc", "pid"
  std::string container_id;  ///< whose it is
  std::string machine;       ///< vm::machine_identity of that container, as JSON
  int64_t pid = 0;           ///< of its init on this host; of the hypervisor where it is in a virtual machine
  ARCA_MESSAGE(joined_namespace, kind, container_id, machine, pid)
};
/// What a start needs. The documents are the container's normalised Docker JSON (actors/model/container_record.hpp).
struct launch_machine {
  std::string container_id;
  uint64_t generation = 0;          ///< of the container's start; comes back in every report
  std::string runtime;              ///< "namespace" or "vm"
  std::string record;               ///< container_record as JSON
  std::vector<std::string> layers;  ///< topmost first
  std::string container_dir;        ///< DATA_ROOT/containers/ID: upper, work, hosts, hostname, resolv.conf
  std::vector<endpoint> endpoints;
  std::vector<joined_namespace> joined;
  deadline_ms deadline = 0;
  int64_t asked = 0;  ///< when the start was asked for: nanoseconds of the steady clock; 0: now
  ARCA_MESSAGE(launch_machine, container_id, generation, runtime, record, layers, container_dir, endpoints, joined,
               deadline, asked)
};
/// The container's init runs.
struct machine_started {
  std::string machine;  ///< vm::machine_identity as JSON, for the row
  int64_t pid = 0;      ///< of the container's init, in the host's pid namespace (0 in a VM)
  int64_t started_at = 0;
  std::string details;  ///< JSON of "Machine" in inspect; empty for a machine on the host's kernel
  std::vector<std::string> warnings;
  ARCA_MESSAGE(machine_started, machine, pid, started_at, details, warnings)
};
/// After a daemon restart: take over the machine of `machine` (identity JSON). Answers what the agent knows. Exits that
/// happened meanwhile follow as machine_exited. errc::gone: the machine has ended and left nothing but its journal.
struct adopt_machine {
  std::string container_id;
  uint64_t generation = 0;
  std::string machine, record;
  ARCA_MESSAGE(adopt_machine, container_id, generation, machine, record)
};
struct adopted_machine {
  bool running = false, paused = false;
  int64_t pid = 0, started_at = 0;
  bool exited = false;  ///< the exit below is final and not yet acknowledged
  int32_t exit_code = 0;
  int64_t exited_at = 0;
  bool oom_killed = false;
  std::string details;  ///< as in machine_started
  ARCA_MESSAGE(adopted_machine, running, paused, pid, started_at, exited, exit_code, exited_at, oom_killed, details)
};

struct start_process {  ///< an exec
  std::string container_id, process_id;
  std::string process;  ///< exec config: Docker's normalised JSON; the machine makes the OCI process of it
  deadline_ms deadline = 0;
  ARCA_MESSAGE(start_process, container_id, process_id, process, deadline)
};
struct process_started {
  int64_t pid = 0;
  ARCA_MESSAGE(process_started, pid)
};
struct signal_process {
  std::string container_id, process_id;
  int32_t signal = 0;
  ARCA_MESSAGE(signal_process, container_id, process_id, signal)
};
struct resize_process {
  std::string container_id, process_id;
  uint32_t rows = 0, columns = 0;
  ARCA_MESSAGE(resize_process, container_id, process_id, rows, columns)
};
struct pause_machine {
  std::string container_id;
  bool pause = true;  ///< false: resume
  ARCA_MESSAGE(pause_machine, container_id, pause)
};
/// SIGKILL to the container without the agent's help where that is possible; 2 s later, if the exit has not been
/// reported, the agent's end, which is that of all containers in the machine.
struct kill_machine {
  std::string container_id;
  ARCA_MESSAGE(kill_machine, container_id)
};
/// The exit is committed: the agent forgets it; when nothing is left in the machine it is taken down.
struct acknowledge_exit {
  std::string container_id, process_id;
  ARCA_MESSAGE(acknowledge_exit, container_id, process_id)
};
struct list_processes {
  std::string container_id;
  ARCA_MESSAGE(list_processes, container_id)
};
/// Of one process, as /proc has it where it runs; not trusted where that is a VM.
struct process_facts {
  int64_t pid = 0;            ///< as the agent sees it: in a VM the guest's
  std::string stat, command;  ///< texts of /proc/PID/stat and cmdline, cut
  uint32_t uid = 0;
  ARCA_MESSAGE(process_facts, pid, stat, command, uid)
};
struct process_list {
  std::vector<process_facts> processes;
  double uptime = 0;       ///< of their kernel, seconds
  int64_t memory_kib = 0;  ///< of their machine
  int64_t now = 0;         ///< its clock, unix seconds
  ARCA_MESSAGE(process_list, processes, uptime, memory_kib, now)
};
struct machine_stats {
  std::string container_id;
  ARCA_MESSAGE(machine_stats, container_id)
};
struct update_resources {
  std::string container_id;
  std::string host_config;  ///< normalised HostConfig with the new limits
  ARCA_MESSAGE(update_resources, container_id, host_config)
};

// Reports to whoever launched or adopted (machine_observer): one-way.
struct machine_exited {  ///< a process ended; its output is complete when its stdio stream has ended
  std::string container_id, process_id;
  uint64_t generation = 0;
  int32_t exit_code = 0;
  int64_t at = 0;
  bool oom_killed = false;
  std::string error;  ///< why, when the machine itself died ("agent ended unexpectedly")
  ARCA_MESSAGE(machine_exited, container_id, process_id, generation, exit_code, at, oom_killed, error)
};
struct machine_oom {
  std::string container_id;
  uint64_t generation = 0;
  ARCA_MESSAGE(machine_oom, container_id, generation)
};
struct machine_unresponsive {  ///< the agent did not answer in time (or answers again)
  std::string container_id;
  uint64_t generation = 0;
  bool unresponsive = true;
  ARCA_MESSAGE(machine_unresponsive, container_id, generation, unresponsive)
};

using machine_observer_actor =
    caf::typed_actor<caf::reacts_to<machine_exited>, caf::reacts_to<machine_oom>, caf::reacts_to<machine_unresponsive>>;

using machine_actor = caf::typed_actor<
    caf::replies_to<launch_machine>::with<machine_started>, caf::replies_to<adopt_machine>::with<adopted_machine>,
    caf::replies_to<start_process>::with<process_started>, caf::replies_to<signal_process>::with<void>,
    caf::replies_to<resize_process>::with<void>, caf::replies_to<pause_machine>::with<void>,
    caf::replies_to<kill_machine>::with<void>, caf::replies_to<acknowledge_exit>::with<void>,
    caf::replies_to<list_processes>::with<process_list>, caf::replies_to<machine_stats>::with<json_document>,
    caf::replies_to<update_resources>::with<void>,
    // machine_calls.hpp
    caf::replies_to<dial_machine>::with<dialled_stream>, caf::replies_to<publish_socket>::with<void>,
    caf::replies_to<write_machine_file>::with<void>, caf::replies_to<make_machine_folder>::with<void>,
    caf::replies_to<mount_in_machine>::with<void>, caf::replies_to<unmount_in_machine>::with<void>,
    caf::replies_to<set_machine_sysctls>::with<void>, caf::replies_to<set_machine_time>::with<void>,
    caf::replies_to<set_up_machine_emulator>::with<void>, caf::replies_to<configure_machine_interface>::with<void>,
    caf::replies_to<set_machine_interface>::with<void>, caf::replies_to<remove_machine_interface>::with<void>,
    caf::replies_to<change_machine_route>::with<void>>;

/// Makes a machine actor that reports to `observer`; answers its handle at once, the caller then sends launch_machine
/// or adopt_machine to it.
struct make_machine {
  std::string container_id;
  machine_observer_actor observer;
  ARCA_MESSAGE(make_machine, container_id, observer)
};
/// After recovery: ids of the containers whose machines were adopted; every other run folder, cgroup and agent of ours
/// is removed.
struct sweep_machines {
  std::vector<std::string> adopted;
  ARCA_MESSAGE(sweep_machines, adopted)
};
/// Looks again at what this host can do for virtual machines; engine_context::vms has it then.
struct look_at_host {
  ARCA_MESSAGE(look_at_host)
};
/// What a running virtual machine's folder tells of it (machine.json without the secret).
struct show_machine {
  std::string machine;  ///< vm::machine_identity as JSON, of the row
  ARCA_MESSAGE(show_machine, machine)
};
/// The boot log: of a running virtual machine what its console wrote from byte `offset` on; of a container that does
/// not run (`machine` empty) what was kept of its last one. Answers {"Text", "Next": the next offset, "Running"}.
struct read_boot_log {
  std::string container_id, machine;
  uint64_t offset = 0;
  ARCA_MESSAGE(read_boot_log, container_id, machine, offset)
};
using machine_manager_actor =
    caf::typed_actor<caf::replies_to<make_machine>::with<machine_actor>, caf::replies_to<sweep_machines>::with<void>,
                     caf::replies_to<look_at_host>::with<void>, caf::replies_to<show_machine>::with<json_document>,
                     caf::replies_to<read_boot_log>::with<json_document>>;
}  // namespace arca

CAF_BEGIN_TYPE_ID_BLOCK(arca_machines, caf::first_custom_type_id + 110)
CAF_ADD_TYPE_ID(arca_machines, (arca::launch_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::joined_namespace))
CAF_ADD_TYPE_ID(arca_machines, (std::vector<arca::joined_namespace>))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_started))
CAF_ADD_TYPE_ID(arca_machines, (arca::adopt_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::adopted_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::start_process))
CAF_ADD_TYPE_ID(arca_machines, (arca::process_started))
CAF_ADD_TYPE_ID(arca_machines, (arca::signal_process))
CAF_ADD_TYPE_ID(arca_machines, (arca::resize_process))
CAF_ADD_TYPE_ID(arca_machines, (arca::pause_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::kill_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::acknowledge_exit))
CAF_ADD_TYPE_ID(arca_machines, (arca::list_processes))
CAF_ADD_TYPE_ID(arca_machines, (arca::process_list))
CAF_ADD_TYPE_ID(arca_machines, (arca::process_facts))
CAF_ADD_TYPE_ID(arca_machines, (std::vector<arca::process_facts>))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_stats))
CAF_ADD_TYPE_ID(arca_machines, (arca::update_resources))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_exited))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_oom))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_unresponsive))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_observer_actor))
CAF_ADD_TYPE_ID(arca_machines, (arca::machine_actor))
CAF_ADD_TYPE_ID(arca_machines, (arca::make_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::sweep_machines))
CAF_ADD_TYPE_ID(arca_machines, (arca::look_at_host))
CAF_ADD_TYPE_ID(arca_machines, (arca::show_machine))
CAF_ADD_TYPE_ID(arca_machines, (arca::read_boot_log))
CAF_END_TYPE_ID_BLOCK(arca_machines)
