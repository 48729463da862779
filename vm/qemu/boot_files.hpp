// Kernel and initramfs of a running QEMU: it maps the files and keeps them mapped, though nothing reads them after the
// boot. Until the host takes the pages back by itself they are memory of the machine.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/qemu/child_process.hpp"

namespace arca::vm {

/// The process's pages of these files go; what is read again comes from the file. The files' pages stay in the host's
/// cache for the next boot. Pages that another QEMU has mapped stay where they are (Linux's MADV_PAGEOUT). Takes some
/// milliseconds.
result<void> release_boot_files(const child_process& qemu, const std::vector<std::string>& files);

}  // namespace arca::vm
