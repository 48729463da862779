// For integration tests with real virtual machines: a backend with folders of its own, and what a start does.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "vm/agent_client.hpp"
#include "vm/qemu/qemu_backend.hpp"
#include "vm/testing/busybox.hpp"

namespace arca::vm::testing {

/// A guest with the agent of this build, made as `arca setup` makes it, in /var/tmp/arca-test-guest or
/// $ARCA_TEST_DATA_ROOT: the first time it downloads 27 MB.
result<guest_image> test_guest();

struct vm_lab {
  vm_lab();
  ~vm_lab();
  lab base;  ///< folders and a layer with busybox
  qemu_backend_settings settings;

  result<std::unique_ptr<machine>> boot(qemu_backend& backend, const std::string& id) const;
  /// Overlay of the layer and a folder of the container.
  rootfs_spec rootfs(const std::string& id) const;
  /// Machine paths below /proc/self/mountinfo, processes and devices of ours that are still there; "" when none.
  std::string left_behind() const;
};

/// Milliseconds since.
double ms_since(std::chrono::steady_clock::time_point begin);
/// Waits for `true_now` for up to `limit_ms`.
bool soon(const std::function<bool()>& true_now, int limit_ms);

}  // namespace arca::vm::testing
