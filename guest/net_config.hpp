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

struct route_change {
  std::string destination;  ///< "10.1.0.0/16", "0.0.0.0/0"
  std::string gateway;      ///< empty: it is on the link
  std::string interface;    ///< empty: the kernel finds it by the gateway
  bool remove = false;
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
/// Up or down. errc::not_found when there is none of this name.
result<void> set_interface(const std::string& name, bool up);
/// One that is there already is replaced; one that is not there is removed without an error.
result<void> change_route(const route_change& what);

}  // namespace arca::guest
