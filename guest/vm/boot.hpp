// What the agent does as process 1 of a virtual machine before it serves (guest/proto/vm_start.hpp).
#pragma once
#include <string>
#include <string_view>

#include "guest/vm/uevents.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// Moves the root to a real mount, then the kernel's file systems, cgroup v2 with its controllers, and folders.
result<void> mount_everything();
/// Free memory goes back to the host in pieces of 256 KiB; in a small machine few blocks of 2 MiB are ever free.
void report_small_blocks();
/// Descriptors, processes, core size: as high as the kernel lets them be; containers get their own limits.
void raise_limits();
/// The value of NAME=VALUE on the kernel's command line; empty: not there.
std::string kernel_word(std::string_view name);
/// The machine's port, non-blocking; waits until the kernel has it. `news` was opened before the modules were loaded.
result<unique_fd> open_port(const uevents& news);
/// Writes what is dirty to the disks and the host's folders, then ends the machine. `reason`, if any, goes to the
/// console.
[[noreturn]] void power_off(std::string_view reason);

}  // namespace arca::guest
