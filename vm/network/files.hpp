// Content of /etc/hosts, /etc/hostname and /etc/resolv.conf of a container, as Docker Engine 28 writes them. Pure: the
// caller reads the host's files and writes the container's. A container on the host's network gets the host's hosts
// file (unless it has extra hosts) and resolv.conf (unless it overrides something) byte for byte.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::net {

struct hosts_spec {
  std::vector<std::string> addresses;  ///< of the container, one line each; none: no line for itself
  std::string hostname, domainname;
  std::vector<std::string> extra_hosts;  ///< HostConfig.ExtraHosts: "name:address" ("host-gateway" as address)
  std::vector<std::string> links;        ///< whole lines: an address, a tab and names
  std::string host_gateway;              ///< what host-gateway means: the bridge's address
  bool ipv6 = true;                      ///< false leaves out the ::1, fe00:: and ff0x:: lines
};
/// errc::invalid_argument for host-gateway where there is none.
result<std::string> hosts_file(const hosts_spec& spec);

/// hostname and a newline.
std::string hostname_file(std::string_view hostname);

struct resolv_spec {
  std::string host_file;                          ///< content of the host's file
  std::string host_path = "/etc/resolv.conf";     ///< where it came from; named in a comment
  std::vector<std::string> dns, search, options;  ///< HostConfig.Dns, DnsSearch, DnsOptions; empty: the host's
  bool host_network = false;                      ///< loopback name servers are kept
  bool ipv6 = false;                              ///< the container's network has IPv6: IPv6 name servers are kept
};
std::string resolv_file(const resolv_spec& spec);

/// Which of the host's files counts: systemd-resolved's own where /etc/resolv.conf names nothing but 127.0.0.53.
std::string host_resolv_path(std::string_view etc_resolv_conf);

}  // namespace arca::net
