// Addresses of one network, and the choice of a subnet. Pure: no clock, no devices.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "persistence/base/config.hpp"
#include "persistence/base/error.hpp"
#include "vm/network/address.hpp"

namespace arca {

/// Which addresses of a subnet are in use. Hands out the next free one after the last given, not the lowest, so that an
/// address rests as long as possible before it is somebody else's. Network, broadcast and gateway are never given.
class ip_pool {
 public:
  /// `label` names the network in errors: "bridge (ID)". next() takes from `range` only, reserve() from all.
  ip_pool(net::subnet4 subnet, net::ip4 gateway, std::string label, std::optional<net::subnet4> range = {});

  /// errc::internal in Docker's words when none is left.
  result<net::ip4> next();
  /// errc::invalid_argument outside the subnet, errc::forbidden when it is in use.
  result<void> reserve(net::ip4 address);
  void release(net::ip4 address);

  size_t in_use() const { return used_.size(); }
  const net::subnet4& subnet() const { return subnet_; }

 private:
  std::optional<net::ip4> free_from(net::ip4 begin, net::ip4 end) const;

  net::subnet4 subnet_;
  net::ip4 first_, last_;         ///< usable at all
  net::ip4 low_, high_, cursor_;  ///< where next() looks
  net::ip4 gateway_;
  std::string label_;
  std::set<net::ip4> used_;  ///< with the gateway left out
};

/// The first subnet of the pools that overlaps none of `taken`.
std::optional<net::subnet4> choose_subnet(const std::vector<address_pool>& pools,
                                          const std::vector<net::subnet4>& taken);

/// What the host shows when the daemon starts.
struct host_view {
  std::vector<net::subnet4> taken;  ///< addresses and routes, but for the default bridge's own
  std::vector<net::subnet4> own;    ///< addresses of the default bridge's device
};
struct bridge_addresses {
  net::subnet4 subnet;
  net::ip4 gateway = 0;
  bool operator==(const bridge_addresses&) const = default;
};
/// Addresses of the default network: the stored ones unless the host has come to use them otherwise and no container
/// holds one (`held`); else those of a bridge device that is already there; else from the pools. Nothing: no pool is
/// free.
std::optional<bridge_addresses> choose_bridge_addresses(const std::optional<bridge_addresses>& stored, bool held,
                                                        const host_view& host, const std::vector<address_pool>& pools);

}  // namespace arca
