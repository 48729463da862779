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

/// Row of table networks: key the id, unique the name.
struct network_record {
  std::string id, name, driver;        ///< driver: bridge, host, null
  int64_t created = 0;                 ///< unix nanoseconds
  std::string bridge;                  ///< host device; bridge networks only
  std::optional<net::subnet4> subnet;  ///< bridge networks only
  net::ip4 gateway = 0;
  uint32_t mtu = 1500;
  std::map<std::string, std::string> labels;

  bool builtin() const { return name == "bridge" || name == "host" || name == "none"; }
};

/// Row of table endpoints: key the endpoint's id, unique "NETWORK_ID/ADDRESS" (the endpoint's id where there is none).
struct endpoint_record {
  std::string id, network_id, container_id, container_name, host_device, mac;
  std::optional<net::ip4> address;
};

std::string to_document(const network_record& n);
result<network_record> network_from_document(const std::string& text);
std::string to_document(const endpoint_record& e);
result<endpoint_record> endpoint_from_document(const std::string& text);
std::string unique_of(const endpoint_record& e);

/// Docker's network resource. GET /networks shows no containers.
std::string network_json(const network_record& n, const std::map<std::string, endpoint_record>& by_container);

}  // namespace arca
