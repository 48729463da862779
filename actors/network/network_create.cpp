#include "actors/network/network_create.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "actors/network/bridge_options.hpp"
#include "actors/network/ipam.hpp"
#include "actors/network/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using nlohmann::json;

bool is_ip6_subnet(const std::string& text) {
  const auto slash = text.find('/');
  in6_addr address{};
  if (slash == std::string::npos || inet_pton(AF_INET6, text.substr(0, slash).c_str(), &address) != 1) return false;
  const auto* end = text.data() + text.size();
  unsigned prefix = 0;
  const auto [at, bad] = std::from_chars(text.data() + slash + 1, end, prefix);
  return bad == std::errc{} && at == end && prefix <= 128;
}
bool is_ip6(const std::string& text) {
  in6_addr address{};
  return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// ---- Docker's ValidateIPAM: every mistake is told at once.
using mistakes = std::vector<std::string>;

void check_address(const std::string& text, const net::subnet4& subnet, const std::string& what, mistakes& wrong) {
  if (text.empty()) return;
  if (is_ip6(text)) {
    wrong.push_back(what + ": parent subnet is an IPv4 block");
    return;
  }
  const auto address = net::parse_ip4(text);
  if (!address)
    wrong.push_back(what + ": invalid address");
  else if (!subnet.contains(*address))
    wrong.push_back(what + ": parent subnet " + net::to_string(subnet) + " doesn't contain this address");
}

void check_range(const std::string& text, const net::subnet4& subnet, mistakes& wrong) {
  if (text.empty()) return;
  const auto what = "invalid ip-range " + text;
  if (is_ip6_subnet(text)) {
    wrong.push_back(what + ": parent subnet is an IPv4 block");
    return;
  }
  const auto range = net::parse_subnet4(text);
  if (!range) {
    wrong.push_back(what + ": invalid CIDR block notation");
    return;
  }
  if (range->prefix < subnet.prefix)
    wrong.push_back(what + ": CIDR block is bigger than its parent subnet " + net::to_string(subnet));
  if (*range != range->network()) wrong.push_back(what + ": it should be " + net::to_string(range->network()));
  if (!range->overlaps(subnet))
    wrong.push_back(what + ": parent subnet " + net::to_string(subnet) + " doesn't contain ip-range");
}

result<void> check_ipam(const std::vector<ipam_entry>& given) {
  mistakes wrong;
  for (const auto& e : given) {
    if (is_ip6_subnet(e.subnet)) continue;
    const auto subnet = net::parse_subnet4(e.subnet);
    if (!subnet) {
      wrong.push_back("invalid subnet " + e.subnet + ": invalid CIDR block notation");
      continue;
    }
    if (*subnet != subnet->network())
      wrong.push_back("invalid subnet " + e.subnet + ": it should be " + net::to_string(subnet->network()));
    check_range(e.ip_range, *subnet, wrong);
    check_address(e.gateway, *subnet, "invalid gateway " + e.gateway, wrong);
    for (const auto& [name, address] : e.auxiliary)
      check_address(address, *subnet, "invalid auxiliary address " + name, wrong);
  }
  if (wrong.empty()) return {};
  std::string text = "invalid network config:";
  for (const auto& w : wrong) text += (wrong.size() == 1 ? "\n" : "\n* ") + w;
  return fail(errc::invalid_argument, text);
}

std::vector<ipam_entry> entries_of(const json& ipam) {
  std::vector<ipam_entry> all;
  if (const auto config = ipam.find("Config"); config != ipam.end() && config->is_array())
    for (const auto& e : *config)
      if (e.is_object())
        all.push_back(
            {text_of(e, "Subnet"), text_of(e, "IPRange"), text_of(e, "Gateway"), map_of(e, "AuxiliaryAddresses")});
  return all;
}

// ---- addresses
constexpr const char* pool_overlap = "invalid pool request: Pool overlaps with other one on this address space";

result<void> take_given_subnet(network_record& n, const std::vector<net::subnet4>& of_networks) {
  std::vector<net::subnet4> mine;
  for (const auto& e : n.ipam) {
    const auto subnet = net::parse_subnet4(e.subnet);
    if (!subnet) continue;
    auto others = of_networks;
    others.insert(others.end(), mine.begin(), mine.end());
    for (const auto& other : others)
      if (other.overlaps(*subnet)) return fail(errc::forbidden, pool_overlap);
    mine.push_back(*subnet);
  }
  if (mine.size() > 1) return fail(errc::forbidden, "bridge driver doesn't support multiple subnets");
  const auto& given = n.ipam.front();
  n.subnet = mine.front();
  n.ip_range = net::parse_subnet4(given.ip_range);
  if (const auto gateway = net::parse_ip4(given.gateway)) {
    n.gateway = *gateway;
    return {};
  }
  // The first address of the range that no auxiliary address holds.
  ip_pool pool(*n.subnet, 0, n.name + " (" + n.id + ")", n.ip_range);
  for (const auto& [name, text] : given.auxiliary)
    if (const auto address = net::parse_ip4(text)) (void)pool.reserve(*address);
  ARCA_TRY(gateway, pool.next());
  n.gateway = gateway;
  return {};
}

result<void> take_addresses(network_record& n, const network_surroundings& around) {
  std::vector<net::subnet4> taken;
  for (const auto* other : around.known)
    if (other->subnet) taken.push_back(other->subnet->network());
  if (!n.ipam.empty()) return take_given_subnet(n, taken);
  taken.insert(taken.end(), around.host.begin(), around.host.end());
  const auto chosen = choose_subnet(around.pools, taken);
  if (!chosen) return fail(errc::internal, "all predefined address pools have been fully subnetted");
  n.subnet = *chosen;
  n.gateway = chosen->first() + 1;
  return {};
}

// ---- configuration networks
result<void> check_configuration(const network_record& n, const json& request) {
  if (n.config_only &&
      (n.internal || n.attachable || flag_of(request, "Ingress") || !text_of(request, "Scope").empty()))
    return fail(errc::forbidden,
                "configuration network can only contain network specific fields. Network operator fields like "
                "[ ingress | internal | attachable | scope ] are not supported.");
  if (n.config_from.empty()) return {};
  if (n.config_only)
    return fail(errc::forbidden, "a configuration network cannot depend on another configuration network");
  if (!n.ipam.empty() || !n.labels.empty() || (n.ipam_options && !n.ipam_options->empty()) ||
      flag_of(request, "EnableIPv6"))
    return fail(errc::forbidden,
                "user specified configurations are not supported if the network depends on a configuration network");
  if (!n.options.empty())
    return fail(errc::forbidden,
                "network driver options are not supported if the network depends on a configuration network");
  return {};
}

result<void> take_configuration(network_record& n, const network_surroundings& around) {
  if (n.config_from.empty()) return {};
  const auto source = std::find_if(around.known.begin(), around.known.end(), [&](const auto* other) {
    return other->config_only && (other->name == n.config_from || other->id == n.config_from);
  });
  if (source == around.known.end())
    return fail(errc::not_found, "configuration network " + go_quote(n.config_from) + " does not exist");
  n.config_from = (*source)->name;
  n.ipam = (*source)->ipam;
  n.ipam_options = (*source)->ipam_options;
  n.options = (*source)->options;
  n.labels = (*source)->labels;
  return {};
}

result<void> check_driver(const std::string& driver, const std::string& ipam_driver) {
  if (driver == "host" || driver == "null")
    return fail(errc::forbidden, "only one instance of " + go_quote(driver) + " network is allowed");
  if (driver != "bridge") return fail(errc::not_found, "plugin " + go_quote(driver) + " not found");
  if (!ipam_driver.empty() && ipam_driver != "default")
    return fail(errc::not_found, "plugin " + go_quote(ipam_driver) + " not found");
  return {};
}

result<void> check_name(const std::string& name, const std::string& driver, const network_surroundings& around) {
  for (const char* own : {"bridge", "host", "none", "default"})
    if (name == own) return fail(errc::forbidden, "operation is not permitted on predefined " + name + " network ");
  if (driver == "overlay")
    return fail(errc::forbidden,
                "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this "
                "node to swarm and try again.");
  for (const auto* other : around.known)
    if (other->name == name) return fail(errc::conflict, "network with name " + name + " already exists");
  return {};
}

result<void> check_ip_versions(const json& request, const std::vector<ipam_entry>& ipam) {
  const bool ip4 = flag_of(request, "EnableIPv4", true), ip6 = flag_of(request, "EnableIPv6");
  if (!ip4 && !ip6) return fail(errc::invalid_argument, "IPv4 or IPv6 must be enabled");
  if (ip6 || !ip4) return fail(errc::unsupported, "networks with IPv6 (EnableIPv6) are not supported by Arca yet");
  if (std::any_of(ipam.begin(), ipam.end(), [](const auto& e) { return is_ip6_subnet(e.subnet); }))
    return fail(errc::unsupported, "IPv6 subnets of a network are not supported by Arca yet");
  return {};
}

result<void> check_bridge(const network_record& n, const network_surroundings& around) {
  for (const auto* other : around.known)
    if (other->bridge == n.bridge)
      return fail(errc::forbidden, "cannot create network " + n.id + " (" + n.bridge + "): conflicts with network " +
                                       other->id + " (" + other->bridge + "): networks have same bridge name");
  if (n.bridge.size() > 15) return fail(errc::internal, "numerical result out of range");
  if (n.bridge.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
          std::string::npos ||
      n.bridge == "." || n.bridge == "..")
    return fail(errc::internal, "invalid argument");
  return {};
}
}  // namespace

result<network_record> plan_network(const json& request, const network_surroundings& around) {
  network_record n;
  n.name = text_of(request, "Name");
  n.driver = text_of(request, "Driver");
  if (n.driver.empty()) n.driver = "bridge";
  ARCA_CHECK(check_name(n.name, n.driver, around));
  const auto ipam = request.value("IPAM", json());
  if (ipam.is_object()) {
    n.ipam = entries_of(ipam);
    if (const auto options = ipam.find("Options"); options != ipam.end() && options->is_object())
      n.ipam_options = map_of(ipam, "Options");
  }
  ARCA_CHECK(check_ipam(n.ipam));
  if (n.name.find_first_not_of(" \t\r\n\v\f") == std::string::npos)
    return fail(errc::invalid_argument, "invalid name: name is empty");
  n.id = random_hex(32);
  n.options = map_of(request, "Options");
  n.labels = map_of(request, "Labels");
  n.internal = flag_of(request, "Internal");
  n.attachable = flag_of(request, "Attachable");
  n.config_only = flag_of(request, "ConfigOnly");
  if (const auto from = request.find("ConfigFrom"); from != request.end() && from->is_object())
    n.config_from = text_of(*from, "Network");
  ARCA_CHECK(check_configuration(n, request));
  if (n.config_only) {
    ARCA_CHECK(check_ip_versions(request, n.ipam));
    n.driver = "null";
    return n;
  }
  ARCA_CHECK(check_driver(n.driver, ipam.is_object() ? text_of(ipam, "Driver") : ""));
  if (flag_of(request, "Ingress")) return fail(errc::forbidden, "Ingress network can only be global scope network");
  ARCA_CHECK(take_configuration(n, around));
  if (text_of(request, "Scope") == "swarm")
    return fail(errc::forbidden, "cannot create a swarm scoped network when swarm is not active");
  ARCA_CHECK(check_ip_versions(request, n.ipam));
  ARCA_CHECK(take_addresses(n, around));
  n.bridge = "br-" + n.id.substr(0, 12);
  ARCA_CHECK(apply_bridge_options(n));
  ARCA_CHECK(check_bridge(n, around));
  return n;
}

}  // namespace arca
