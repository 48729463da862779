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
  // The subnets of user defined networks are known when the container starts, and so is whether bridge has the address.
  if (!is_user_defined(network)) {
    constexpr auto no_subnet =
        "user specified IP address is supported only when connecting to networks with user configured subnets";
    if (!ip4.empty() && network_name_of(network) != "bridge")
      out.emplace_back(no_subnet);
    else if (!ip4.empty() && (!is_ip4(ip4) || unspecified(ip4)))
      out.push_back("no configured subnet or ip-range contain the IP address " + ip4);
    if (!ip6.empty()) out.emplace_back(no_subnet);
  }
  if (const auto& sysctls = text_of(object_of(endpoint, "DriverOpts"), sysctls_option); !sysctls.empty())
    for (const auto& setting : split(sysctls, ','))
      if (!is_interface_sysctl(setting))
        out.push_back("unrecognised network interface sysctl '" + setting +
                      "'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'");
  return out;
}

// Docker's multierror: one text as it is, several as a list, those of several lines with their rest indented.
std::string joined(const std::vector<std::string>& texts) {
  if (texts.size() == 1) return texts[0];
  std::string out;
  for (const auto& text : texts) {
    out += out.empty() ? "* " : "\n* ";
    for (const char c : text) (out += c) += c == '\n' ? "\t" : "";
  }
  return out;
}

std::string problem_of(const std::string& network, const json& endpoint) {
  if (!endpoint.is_object()) return "EndpointsConfig is nil";
  if (const auto& mac = text_of(endpoint, "MacAddress"); !mac.empty() && !is_mac(mac))
    return "invalid MAC address " + mac;
  const auto problems = problems_of(network, endpoint);
  return problems.empty() ? std::string() : "invalid endpoint settings:\n" + joined(problems);
}

}  // namespace

result<void> check_networking(const json& networking) {
  std::vector<std::string> texts;
  for (const auto& [network, endpoint] : object_of(networking, "EndpointsConfig").items()) {
    const auto prefix = "invalid config for network " + network + ": ";
    const auto problem = problem_of(network, endpoint);
    if (!problem.empty())
      texts.push_back(prefix + problem);
    else if (!text_of(object_of(endpoint, "DriverOpts"), sysctls_option).empty())
      return fail(errc::unsupported, prefix + "driver option " + sysctls_option + " is not supported");
  }
  if (!texts.empty()) return refuse(joined(texts));
  return {};
}

}  // namespace arca::model
