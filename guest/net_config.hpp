// The network devices of the machine, by netlink: addresses, routes, up and down.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

struct interface_config {
  std::string name;                    ///< "eth0"
  std::string mac;                     ///< "02:42:ac:11:00:02": selects the device, which is then renamed; or empty
  std::vector<std::string> addresses;  ///< "172.17.0.2/16", "fd00::2/64"
  std::string gateway4, gateway6;      ///< default routes; empty: none
  uint32_t mtu = 0;                    ///< 0: as it is
};

/// Loopback up.
result<void> bring_up_loopback();
/// Whether there is a device with this hardware address.
bool has_interface(const std::string& mac);
/// Names the device, gives it its addresses, brings it up and makes the default routes. Safe to repeat.
result<void> configure_interface(const interface_config& config);
/// The same in a network namespace that is made for it, with lo up; the device is moved there. Returns the namespace.
result<unique_fd> configure_in_new_network(const interface_config& config);
/// errc::not_found when there is none of this name.
result<void> remove_interface(const std::string& name);

}  // namespace arca::guest
