// Packet filter and NAT by libnftables: one table of our own, `inet arca`, replaced as a whole in one transaction.
//
// Chains and priorities, so that the administrator's rules count:
//   forward      filter + 10   after every ordinary filter chain; a drop there is final, ours only adds drops
//   postrouting  srcnat + 10   after the administrator's NAT, whose decision stands
// An accept in our table cannot lift a drop of another one. Where the table `ip filter` (iptables-nft) has a FORWARD
// chain with policy drop, two rules at its *end* let our bridges through in place of the policy; every rule before them
// still decides first. Legacy iptables cannot be amended without its helper program: firewall_notes() says so.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/network/address.hpp"

namespace arca::net {

struct bridge_rules {
  std::string bridge;
  subnet4 subnet;
  bool masquerade = true;  ///< NAT for what leaves by another device
  bool icc = true;         ///< containers of the network may talk to each other
  bool internal = false;   ///< nothing goes out or comes in
};

/// The ruleset that apply_firewall loads, as nft text.
std::string firewall_ruleset(const std::vector<bridge_rules>& bridges);

/// Replaces the table by the rules for these bridges; no bridges: removes it. Loads libnftables for the call only.
result<void> apply_firewall(const std::vector<bridge_rules>& bridges);

/// What on this host may keep packets from our bridges though our rules let them pass: one sentence each, for the log.
std::vector<std::string> firewall_notes();

}  // namespace arca::net
