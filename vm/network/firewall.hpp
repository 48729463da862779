// Packet filter and NAT by libnftables: one table of our own, `inet arca`, replaced as a whole in one transaction.
//
// Chains and priorities, so that the administrator's rules count:
//   forward      filter + 10   after every ordinary filter chain; a drop there is final, ours only adds drops
//   prerouting   dstnat + 10   after the administrator's NAT, whose decision stands; so are the next two
//   output       dstnat + 10   published ports for processes of the host itself
//   postrouting  srcnat + 10
//   loopback     raw           nothing from a bridge may use the host's 127.0.0.0/8
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
  bool open = false;       ///< whatever is routed here may come in (gateway mode routed)
  bool masquerade = true;  ///< NAT for what leaves by another device
  bool icc = true;         ///< containers of the network may talk to each other
  bool internal = false;   ///< nothing goes out or comes in
};

/// A published port: what comes to host:host_port of this machine goes to container:container_port.
struct port_rule {
  std::string protocol;  ///< tcp, udp, sctp
  ip4 host = 0;          ///< 0: every address of the host
  uint16_t host_port = 0;
  ip4 container = 0;
  uint16_t container_port = 0;
};

/// The ruleset that apply_firewall loads, as nft text.
std::string firewall_ruleset(const std::vector<bridge_rules>& bridges, const std::vector<port_rule>& ports = {});

/// Replaces the table by the rules for these bridges and ports; no bridges: removes it. Loads libnftables for the call
/// only.
result<void> apply_firewall(const std::vector<bridge_rules>& bridges, const std::vector<port_rule>& ports = {});

/// What on this host may keep packets from our bridges though our rules let them pass: one sentence each, for the log.
std::vector<std::string> firewall_notes();

}  // namespace arca::net
