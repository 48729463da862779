// What makes one machine differ from another that came from the same memory: the state of the random generator, the
// clock, names. And what it shares with no host: sysctls, emulators.
#pragma once
#include <cstdint>
#include <string>

#include "persistence/base/error.hpp"

namespace arca::guest {

/// Mixes `seed` into the kernel's generator, counts it as entropy, and makes the generator use it at once.
result<void> seed_random(const std::string& seed);
/// Unix nanoseconds.
result<void> set_clock(int64_t now);
/// Any sysctl of the machine: "kernel.shmmax", "net.ipv4.ip_forward".
result<void> set_sysctl(const std::string& name, const std::string& value);

struct emulator {
  std::string name, interpreter, magic, mask;
};
/// The line for binfmt_misc, or what is wrong with it.
result<std::string> binfmt_line(const emulator& what);
/// Registers with binfmt_misc, which is mounted if need be; one of the same name is replaced.
result<void> set_up_emulator(const emulator& what);

}  // namespace arca::guest
