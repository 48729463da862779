// What people are shown of machines, and the boot log that stays of one. All but details_of block.
#pragma once
#include <string>

#include "actors/protocol/machine.hpp"
#include "persistence/base/error.hpp"
#include "vm/machine.hpp"

namespace arca::machines {

/// "Machine" of inspect: Kind, Id, Pid, MemoryMiB, Cpus, Accelerator, Guest, Stages and EngineStages (name: ms),
/// StartMs and EngineMs (the whole start, and what of it no call to QEMU or the agent covers). Empty
/// for a machine on the host's kernel.
std::string details_of(const vm::machine& box, const vm::stage_times& engine_stages);

/// Keeps the last 64 KiB of a virtual machine's boot log as CONTAINER_DIR/machine.log. Whether there is one now.
bool keep_boot_log(const vm::machine& box, const std::string& container_dir);

/// Answers show_machine. `identity`: JSON of vm::machine_identity.
result<std::string> show(const std::string& identity);
/// Answers read_boot_log. errc::not_found when there is none.
result<std::string> boot_log(const read_boot_log& request, const std::string& container_dir);

}  // namespace arca::machines
