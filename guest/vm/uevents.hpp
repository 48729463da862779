// The kernel's news of devices (netlink, NETLINK_KOBJECT_UEVENT). There is no udev in the machine.
#pragma once
#include <chrono>
#include <functional>
#include <string_view>

#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class uevents {
 public:
  /// Events from now on are not missed.
  uevents();

  /// Asks `ready` at once, and again after each event of `subsystem` ("net", "virtio", …), until it is true. False: it
  /// was not within `limit`. Blocks.
  bool wait(std::string_view subsystem, std::chrono::milliseconds limit, const std::function<bool()>& ready) const;

 private:
  unique_fd socket_;
};

}  // namespace arca::guest
