// The uncompressed kernel in a bzImage: QEMU boots it by its PVH entry, 0.2 s earlier than the compressed one.
#pragma once
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"

namespace arca::vm {

/// The vmlinux inside, found by the boot protocol's payload fields (Linux, Documentation/x86/boot.rst, 2.08 and later),
/// unpacked whatever it is compressed with, and with the size that the payload says.
/// errc::invalid_argument: no bzImage, broken, not for x86-64 or without a PVH entry.
result<std::string> vmlinux_of(std::string_view bzimage);

}  // namespace arca::vm
