#include "actors/model/networks.hpp"

#include <arpa/inet.h>

#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

bool is_bridge(const std::string& network) {
  return !network.empty() && network != "host" && network != "none";
}

}  // namespace

std::string network_to_join(const container_record& r) {
  const auto& mode = text_of(r.host_config, "NetworkMode");
  if (starts_with(mode, "container:")) return mode;
  const auto name = network_name_of(mode);
  if (!is_bridge(name) || !r.networking.is_object() || r.networking.empty() || r.networking.contains(name)) return name;
  return r.networking.begin().key();
}

std::vector<std::string> networks_left_out(const container_record& r) {
  std::vector<std::string> out;
  const auto joined = network_to_join(r);
  if (!is_bridge(joined) || starts_with(joined, "container:") || !r.networking.is_object()) return out;
  for (const auto& [network, settings] : r.networking.items())
    if (is_bridge(network) && network != joined) out.push_back(network);
  return out;
}

result<void> check_network_company(const json& host_config, const json& endpoints) {
  const auto mode = network_name_of(text_of(host_config, "NetworkMode"));
  if (mode.empty() || !endpoints.is_object()) return {};
  const auto refuse_start = [](const char* why) {
    return fail(error(errc::invalid_argument, why).wrap("failed to set up container networking"));
  };
  for (const auto& [network, settings] : endpoints.items()) {
    if (network == mode) continue;
    if (mode == "host")
      return refuse_start(
          "container sharing network namespace with another container or host cannot be "
          "connected to any other network");
    if (network == "host")
      return refuse_start(
          "cannot connect container to host network - container must be created in host network "
          "mode");
    if (mode == "none" || network == "none")
      return refuse_start(
          "container cannot be connected to multiple networks with one of the networks in "
          "private (none) mode");
  }
  return {};
}

std::string interface_name(const json& endpoint) {
  const auto& given = text_of(object_of(endpoint, "DriverOpts"), "com.docker.network.endpoint.ifname");
  return given.empty() ? "eth0" : given;
}

std::vector<std::string> link_local_addresses(const json& endpoint) {
  std::vector<std::string> out;
  for (const auto& entry : list_of(object_of(endpoint, "IPAMConfig"), "LinkLocalIPs")) {
    const auto& address = entry.get_ref<const std::string&>();
    in_addr parsed{};
    if (inet_pton(AF_INET, address.c_str(), &parsed) != 1) continue;
    const auto first = ntohl(parsed.s_addr) >> 24;
    out.push_back(address + (first < 128 ? "/8" : first < 192 ? "/16" : "/24"));
  }
  return out;
}

}  // namespace arca::model
