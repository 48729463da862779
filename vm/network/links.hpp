// Network devices of the host by rtnetlink: the bridge, one veth per container, and what else is there. Every call
// opens its own netlink socket, blocks for micro- to milliseconds and works in the network namespace of the calling
// thread.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/network/address.hpp"

namespace arca::net {

struct bridge_spec {
  std::string name;  ///< "arca0"
  subnet4 address;   ///< the gateway's own address with the subnet's prefix: 172.17.0.1/16
  uint32_t mtu = 1500;
};

/// Makes the bridge with a fixed MAC, its address, MTU, up, and switches on IPv4 forwarding. What is already right is
/// left alone. errc::conflict when a device of that name is no bridge.
result<void> ensure_bridge(const bridge_spec& bridge);

struct veth_spec {
  std::string bridge;     ///< device that the host end joins
  std::string host_name;  ///< at most 15 bytes
  std::string guest_name = "eth0";
  std::string mac;  ///< of the guest's end
  uint32_t mtu = 1500;
};

/// One RTM_NEWLINK: host end up and in the bridge, the other end born inside the network namespace `netns` under its
/// final name (down, without addresses: the agent configures it). errc::not_found when there is no such bridge.
result<void> create_veth(const veth_spec& veth, int netns);

struct tap_spec {
  std::string bridge;  ///< device that it joins
  std::string name;    ///< at most 15 bytes
  uint32_t mtu = 1500;
};

/// A tap device with virtio headers (offloads), up and in the bridge: the host's end of a virtual machine's NIC. It
/// lives as long as the descriptor is open somewhere. errc::not_found when there is no such bridge.
result<unique_fd> create_tap(const tap_spec& tap);

/// A missing device is success. The kernel waits for a grace period (15–23 ms): never on the way of an answer.
result<void> remove_link(const std::string& name);

/// Removes a bridge that ensure_bridge has made; one that was there before, or is gone, is left alone.
result<void> remove_bridge(const std::string& name);

/// Lets packets of the host's own loopback address pass to containers behind the bridge (published ports on 127.0.0.1).
/// The rules of firewall.hpp keep the bridge's side from reaching 127.0.0.0/8 that way.
result<void> route_loopback(const std::string& bridge);

/// 0: there is no such device. One ioctl, no netlink.
uint32_t link_index(const std::string& name);

/// Host ends made by create_veth or create_tap that hang on `bridge`.
result<std::vector<std::string>> list_veths(const std::string& bridge);

/// Every IPv4 subnet that the host knows by an address of its own or a route; default routes and what belongs to the
/// device `except` are left out.
result<std::vector<subnet4>> host_subnets(const std::string& except);

/// First IPv4 address of a device, if it has one.
result<std::vector<subnet4>> link_addresses(const std::string& name);

}  // namespace arca::net
