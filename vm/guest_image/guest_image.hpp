// The guest that new virtual machines boot: the kernel and the initramfs that `arca setup` made (setup.hpp), or the
// ones that the settings name.
#pragma once
#include <string>

#include "persistence/base/config.hpp"
#include "persistence/base/error.hpp"

namespace arca::vm {

struct guest_image {
  std::string version;           ///< "6.1.192-2-1a2b3c4d", for machine.json; empty: both files are the settings'
  std::string kernel, initrd;    ///< paths; never by way of `current`, which may change at any time
  std::string kernel_arguments;  ///< of the settings; to be appended to Arca's own: of two the kernel takes the later
  std::string kernel_release;    ///< "6.1.0-56-cloud-amd64"; empty where the settings name the kernel
  std::string agent_version, agent_sha256;  ///< empty where the settings name the initramfs
};

/// DATA_ROOT/guest
std::string guests_folder(const std::string& data_root);

/// The current guest. errc::not_found: none is installed. errc::unavailable: it is damaged, or its agent is of another
/// Arca. Either message is one sentence that ends with what to do. Reads two small files: fit for each start.
result<guest_image> find_guest(const std::string& data_root);
/// The same with `kernel_path`, `initrd_path` and `kernel_arguments` of the settings put over it.
result<guest_image> find_guest(const settings& config);

/// Whether the guest's agent is this program, as after a build it may not be; errc::unavailable says so. Reads all of
/// it: not for each start.
result<void> check_agent(const guest_image& guest, const std::string& agent_path);

}  // namespace arca::vm
