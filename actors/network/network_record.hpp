// A network and its endpoints as rows, and as Docker shows them.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/network/address.hpp"

namespace arca {

/// One element of IPAM.Config as the user gave it.
struct ipam_entry {
  std::string subnet, ip_range, gateway;
  std::map<std::string, std::string> auxiliary;
};

/// Row of table networks: key the id, unique the name.
struct network_record {
  std::string id, name, driver;        ///< driver: bridge, host, null
  int64_t created = 0;                 ///< unix nanoseconds
  std::string bridge;                  ///< host device; bridge networks only
  std::optional<net::subnet4> subnet;  ///< bridge networks only
  net::ip4 gateway = 0;
  uint32_t mtu = 1500;
  std::map<std::string, std::string> labels;

  // What a user network may have beyond that.
  std::vector<ipam_entry> ipam;          ///< as given; empty: the engine chose the subnet
  std::optional<net::subnet4> ip_range;  ///< part of the subnet that addresses are taken from
  std::optional<std::map<std::string, std::string>> ipam_options;
  std::map<std::string, std::string> options;  ///< of the driver, as given
  bool internal = false, attachable = false;
  bool config_only = false;  ///< only lends its settings to others: driver null, no device
  std::string config_from;   ///< name of the config_only network that the settings came from
  bool icc = true, masquerade = true;
  std::string host_binding;  ///< host address of published ports that name none; empty: all
  bool routed = false;       ///< gateway_mode_ipv4 routed: no NAT, no host ports

  bool builtin() const { return name == "bridge" || name == "host" || name == "none"; }
};

/// A published port: what reaches host_ip:host_port goes to the container's port.
struct published_port {
  std::string protocol, host_ip;
  uint16_t host_port = 0, container_port = 0;
};

/// Row of table endpoints: key the endpoint's id, unique "NETWORK_ID/ADDRESS" (the endpoint's id where there is none).
struct endpoint_record {
  std::string id, network_id, container_id, container_name, host_device, mac;
  std::optional<net::ip4> address;
  std::vector<published_port> ports;
};

std::string to_document(const network_record& n);
result<network_record> network_from_document(const std::string& text);
std::string to_document(const endpoint_record& e);
result<endpoint_record> endpoint_from_document(const std::string& text);
std::string unique_of(const endpoint_record& e);

/// Docker's network resource. GET /networks shows no containers.
std::string network_json(const network_record& n, const std::map<std::string, endpoint_record>& by_container);

}  // namespace arca
