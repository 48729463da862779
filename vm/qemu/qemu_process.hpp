// One QEMU: from a machine's folder and what it is to be, to a running process.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/qemu/child_process.hpp"
#include "vm/qemu/command_line.hpp"

namespace arca::vm {

struct qemu_plan {
  qemu_settings settings;  ///< `name` and `fds` are filled in here
  std::string dir;         ///< exists, of the machine; gets the sockets, console.log and qemu.log
  std::string kernel, initrd;
  std::vector<int> cgroups;
};

/// Makes the listening sockets and logs, opens kernel and initramfs, and starts QEMU under a user id of its own: not
/// even another machine's QEMU has it. errc::invalid_argument when that user could not read the guest's files.
result<child_process> start_qemu(const qemu_plan& plan);

/// "7.2.22", for what depends on it; empty when the program does not say.
std::string qemu_version(const std::string& program);

}  // namespace arca::vm
