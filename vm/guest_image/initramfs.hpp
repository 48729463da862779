// The guest's initramfs: the agent as /init, the kernel modules, and the folders that the agent mounts on.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/guest_image/modules.hpp"

namespace arca::vm {

/// Each MB costs a start 10 to 15 ms (vm-facts §13.1): more than this is refused.
inline constexpr size_t largest_initramfs = 12'000'000;

/// A cpio archive (newc, not compressed: that does not pay) as guest/proto/vm_start.hpp wants it. The same input gives
/// the same bytes. errc::invalid_argument when it would be larger than `limit`.
result<std::string> make_initramfs(std::string_view agent, const std::vector<module_group>& modules,
                                   size_t limit = largest_initramfs);

}  // namespace arca::vm
