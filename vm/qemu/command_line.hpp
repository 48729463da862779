// The arguments of QEMU for one machine, as pure data (measured: vm-facts §3.1). Everything a guest does not need is
// off; nothing is opened by path but QEMU's own firmware: sockets, console, kernel and initramfs come as descriptors,
// so that QEMU needs no right to any folder of ours.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::vm {

enum class accelerator : uint8_t { tcg, kvm };
const char* to_string(accelerator a);

/// Numbers of the descriptors in QEMU.
struct qemu_descriptors {
  int qmp = 3, agent = 4;      ///< listening unix sockets
  int console = 5;             ///< a file opened for appending
  int kernel = 6, initrd = 7;  ///< readable
};

struct qemu_settings {
  std::string program = "/usr/bin/qemu-system-x86_64";
  std::string name;  ///< what `ps` shows; the machine's folder
  accelerator kind = accelerator::tcg;
  uint64_t memory_mib = 256;  ///< 128 at least: with 64 the kernel runs out of memory while it boots
  unsigned cpus = 1;
  unsigned root_ports = 4;  ///< devices that can be plugged later
  uint64_t tsc_khz = 0;     ///< the host's, for the guest's clock under TCG; 0: not known
  std::string more_kernel_arguments;
  qemu_descriptors fds;
};

inline constexpr uint64_t least_memory_mib = 128;

/// errc::invalid_argument when a size or a kernel argument cannot be passed.
result<std::vector<std::string>> qemu_command_line(const qemu_settings& settings);

/// The rate of the host's time stamp counter from the text of /proc/cpuinfo, in kHz; 0 when it is not constant or not
/// told. (BogoMIPS is twice the rate; "cpu MHz" is the momentary clock.)
uint64_t tsc_khz_of(const std::string& cpuinfo);

}  // namespace arca::vm
