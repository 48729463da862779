// Which network a container joins, of those that NetworkMode and EndpointsConfig name.
#pragma once
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"

namespace arca::model {

/// NetworkMode's; where endpoints were given and none for that one, the network of the first of them.
std::string network_to_join(const container_record& r);
/// Those that endpoints were given for beside it: a container is on one network only so far.
std::vector<std::string> networks_left_out(const container_record& r);
/// Start: networks that exclude each other, in Docker's words.
result<void> check_network_company(const nlohmann::json& host_config, const nlohmann::json& endpoints);

/// What the container's interface is called on the network of this endpoint.
std::string interface_name(const nlohmann::json& endpoint);
/// LinkLocalIPs (IPv4) with the prefix length of their class, as Docker adds them.
std::vector<std::string> link_local_addresses(const nlohmann::json& endpoint);

}  // namespace arca::model
