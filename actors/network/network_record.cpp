#include "actors/network/network_record.hpp"

#include <nlohmann/json.hpp>

#include "actors/network/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using json = nlohmann::ordered_json;

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// An element of IPAM.Config: what is empty is left out, as Docker does.
json ipam_json(const ipam_entry& e) {
  json d = {{"Subnet", e.subnet}};
  if (!e.ip_range.empty()) d["IPRange"] = e.ip_range;
  if (!e.gateway.empty()) d["Gateway"] = e.gateway;
  if (!e.auxiliary.empty()) d["AuxiliaryAddresses"] = e.auxiliary;
  return d;
}

result<json> object_of(const std::string& text, const char* what) {
  auto parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return fail(errc::internal, std::string("damaged row of a ") + what);
  return parsed;
}
}  // namespace

std::string to_document(const network_record& n) {
  json d = {{"id", n.id}, {"name", n.name}, {"driver", n.driver}, {"created", n.created}, {"mtu", n.mtu}};
  if (!n.bridge.empty()) d["bridge"] = n.bridge;
  if (n.subnet) {
    d["subnet"] = net::to_string(*n.subnet);
    d["gateway"] = net::to_string(n.gateway);
  }
  if (!n.labels.empty()) d["labels"] = n.labels;
  for (const auto& e : n.ipam) d["ipam"].push_back(ipam_json(e));
  if (n.ip_range) d["ip_range"] = net::to_string(*n.ip_range);
  if (n.ipam_options) d["ipam_options"] = *n.ipam_options;
  if (!n.options.empty()) d["options"] = n.options;
  if (n.internal) d["internal"] = true;
  if (n.attachable) d["attachable"] = true;
  if (n.config_only) d["config_only"] = true;
  if (!n.config_from.empty()) d["config_from"] = n.config_from;
  if (!n.icc) d["icc"] = false;
  if (!n.masquerade) d["masquerade"] = false;
  if (!n.host_binding.empty()) d["host_binding"] = n.host_binding;
  if (n.routed) d["routed"] = true;
  return dump(d);
}

result<network_record> network_from_document(const std::string& text) {
  ARCA_TRY(d, object_of(text, "network"));
  network_record n;
  n.id = text_of(d, "id");
  n.name = text_of(d, "name");
  n.driver = text_of(d, "driver");
  n.bridge = text_of(d, "bridge");
  if (const auto created = d.find("created"); created != d.end() && created->is_number_integer())
    n.created = created->get<int64_t>();
  if (const auto mtu = d.find("mtu"); mtu != d.end() && mtu->is_number_unsigned()) n.mtu = mtu->get<uint32_t>();
  n.subnet = net::parse_subnet4(text_of(d, "subnet"));
  n.gateway = net::parse_ip4(text_of(d, "gateway")).value_or(0);
  n.labels = map_of(d, "labels");
  if (const auto ipam = d.find("ipam"); ipam != d.end() && ipam->is_array())
    for (const auto& e : *ipam)
      if (e.is_object())
        n.ipam.push_back(
            {text_of(e, "Subnet"), text_of(e, "IPRange"), text_of(e, "Gateway"), map_of(e, "AuxiliaryAddresses")});
  n.ip_range = net::parse_subnet4(text_of(d, "ip_range"));
  if (d.contains("ipam_options")) n.ipam_options = map_of(d, "ipam_options");
  n.options = map_of(d, "options");
  n.internal = flag_of(d, "internal");
  n.attachable = flag_of(d, "attachable");
  n.config_only = flag_of(d, "config_only");
  n.config_from = text_of(d, "config_from");
  n.icc = flag_of(d, "icc", true);
  n.masquerade = flag_of(d, "masquerade", true);
  n.host_binding = text_of(d, "host_binding");
  n.routed = flag_of(d, "routed");
  if (n.id.empty() || n.name.empty() || n.driver.empty()) return fail(errc::internal, "damaged row of a network");
  return n;
}

std::string to_document(const endpoint_record& e) {
  json d = {{"id", e.id}, {"network", e.network_id}, {"container", e.container_id}, {"name", e.container_name}};
  if (e.address) {
    d["device"] = e.host_device;
    d["mac"] = e.mac;
    d["address"] = net::to_string(*e.address);
  }
  for (const auto& p : e.ports)
    d["ports"].push_back(
        {{"protocol", p.protocol}, {"ip", p.host_ip}, {"host", p.host_port}, {"container", p.container_port}});
  return dump(d);
}

result<endpoint_record> endpoint_from_document(const std::string& text) {
  ARCA_TRY(d, object_of(text, "network endpoint"));
  endpoint_record e;
  e.id = text_of(d, "id");
  e.network_id = text_of(d, "network");
  e.container_id = text_of(d, "container");
  e.container_name = text_of(d, "name");
  e.host_device = text_of(d, "device");
  e.mac = text_of(d, "mac");
  e.address = net::parse_ip4(text_of(d, "address"));
  if (const auto ports = d.find("ports"); ports != d.end() && ports->is_array())
    for (const auto& p : *ports) {
      if (!p.is_object()) continue;
      const auto number = [&](const char* key) {
        const auto found = p.find(key);
        return found != p.end() && found->is_number_unsigned() ? found->get<uint16_t>() : uint16_t{0};
      };
      e.ports.push_back({text_of(p, "protocol"), text_of(p, "ip"), number("host"), number("container")});
    }
  if (e.id.empty() || e.network_id.empty() || e.container_id.empty())
    return fail(errc::internal, "damaged row of a network endpoint");
  return e;
}

std::string unique_of(const endpoint_record& e) {
  return e.network_id + '/' + (e.address ? net::to_string(*e.address) : e.id);
}

std::string network_json(const network_record& n, const std::map<std::string, endpoint_record>& by_container) {
  json ipam = {{"Driver", "default"}, {"Options", nullptr}, {"Config", nullptr}};
  if (n.ipam_options) ipam["Options"] = *n.ipam_options;
  if (!n.ipam.empty()) {
    ipam["Config"] = json::array();
    for (const auto& e : n.ipam) ipam["Config"].push_back(ipam_json(e));
  } else if (n.subnet) {
    json config = {{"Subnet", net::to_string(*n.subnet)}, {"Gateway", net::to_string(n.gateway)}};
    ipam["Config"] = json::array({std::move(config)});
  }
  json containers = json::object();
  for (const auto& [id, e] : by_container)
    containers[id] = {{"Name", e.container_name},
                      {"EndpointID", e.id},
                      {"MacAddress", e.mac},
                      {"IPv4Address", e.address && n.subnet ? net::to_string(net::subnet4{*e.address, n.subnet->prefix})
                                                            : std::string{}},
                      {"IPv6Address", ""}};
  json options = n.options.empty() ? json::object() : json(n.options);
  if (n.name == "bridge")
    options = {{"com.docker.network.bridge.default_bridge", "true"},
               {"com.docker.network.bridge.enable_icc", "true"},
               {"com.docker.network.bridge.enable_ip_masquerade", "true"},
               {"com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"},
               {"com.docker.network.bridge.name", n.bridge},
               {"com.docker.network.driver.mtu", std::to_string(n.mtu)}};
  json labels = json::object();
  for (const auto& [key, value] : n.labels) labels[key] = value;
  return dump({{"Name", n.name},
               {"Id", n.id},
               {"Created", rfc3339_nano(n.created)},
               {"Scope", "local"},
               {"Driver", n.driver},
               {"EnableIPv4", true},
               {"EnableIPv6", false},
               {"IPAM", std::move(ipam)},
               {"Internal", n.internal},
               {"Attachable", n.attachable},
               {"Ingress", false},
               {"ConfigFrom", {{"Network", n.config_from}}},
               {"ConfigOnly", n.config_only},
               {"Containers", std::move(containers)},
               {"Options", std::move(options)},
               {"Labels", std::move(labels)}});
}

}  // namespace arca
