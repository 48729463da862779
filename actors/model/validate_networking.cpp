// Checks of NetworkingConfig.EndpointsConfig (Docker's validateEndpointSettings).
#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

constexpr const char* sysctls_option = "com.docker.network.endpoint.sysctls";

bool is_interface_sysctl(const std::string& setting) {
  const auto parts = split(setting, '.');
  return parts.size() >= 5 && (parts[1] == "ipv4" || parts[1] == "ipv6" || parts[1] == "mpls") &&
         lower(parts[3]) == "ifname";
}

bool unspecified(const std::string& address) {
  return address == "0.0.0.0" || address == "::";
}

std::vector<std::string> problems_of(const std::string& network, const json& endpoint) {
  std::vector<std::string> out;
  const auto& ipam = object_of(endpoint, "IPAMConfig");
  const auto &ip4 = text_of(ipam, "IPv4Address"), &ip6 = text_of(ipam, "IPv6Address");
  if (!is_user_defined(network)) {
    if (!ip4.empty() || !ip6.empty())
      out.emplace_back("user specified IP address is supported on user defined networks only");
    if (!list_of(endpoint, "Aliases").empty())
      out.emplace_back("network-scoped alias is supported only for containers in user defined networks");
  }
  if (!ip4.empty() && (!is_ip4(ip4) || unspecified(ip4))) out.push_back("invalid IPv4 address: " + ip4);
  if (!ip6.empty() && (!is_ip6(ip6) || unspecified(ip6))) out.push_back("invalid IPv6 address: " + ip6);
  for (const auto& entry : list_of(ipam, "LinkLocalIPs")) {
    const auto& address = entry.get_ref<const std::string&>();
    if ((!is_ip4(address) && !is_ip6(address)) || unspecified(address))
      out.push_back("invalid link-local IP address: " + address);
  }
  if (const auto& sysctls = text_of(object_of(endpoint, "DriverOpts"), sysctls_option); !sysctls.empty())
    for (const auto& setting : split(sysctls, ','))
      if (!is_interface_sysctl(setting))
        out.push_back("unrecognised network interface sysctl '" + setting +
                      "'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'");
  return out;
}

}  // namespace

result<void> check_networking(const json& networking) {
  for (const auto& [network, endpoint] : object_of(networking, "EndpointsConfig").items()) {
    if (!endpoint.is_object()) return refuse("no EndpointSettings for " + network);
    const auto prefix = "invalid config for network " + network + ": ";
    const auto problems = problems_of(network, endpoint);
    if (!problems.empty()) {
      std::string text = prefix + "invalid endpoint settings:";
      for (const auto& problem : problems) text += (problems.size() > 1 ? "\n* " : "\n") + problem;
      return refuse(text);
    }
    if (const auto& mac = text_of(endpoint, "MacAddress"); !mac.empty() && !is_mac(mac))
      return refuse(prefix + "invalid MAC address " + mac);
    if (!text_of(object_of(endpoint, "DriverOpts"), sysctls_option).empty())
      return fail(errc::unsupported, prefix + "driver option " + sysctls_option + " is not supported");
  }
  return {};
}

}  // namespace arca::model
