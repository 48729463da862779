// POST /networks/create: from the request to a record, or to a refusal in Docker's words. Pure: the caller says which
// networks there are and what the host uses.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "actors/network/network_record.hpp"
#include "persistence/base/config.hpp"

namespace arca {

struct network_surroundings {
  std::vector<const network_record*> known;
  std::vector<net::subnet4> host;  ///< subnets of the host's own addresses and routes
  const std::vector<address_pool>& pools;
};

/// `request` is a decoded network.CreateRequest. The record has a new id, a subnet and a bridge's name; its time of
/// creation is the caller's. errc::conflict for a name in use; errc::unsupported for what Arca does not have (IPv6).
result<network_record> plan_network(const nlohmann::json& request, const network_surroundings& around);

}  // namespace arca
