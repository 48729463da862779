#include "actors/network/network_record.hpp"

#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"

namespace arca {
namespace {
using json = nlohmann::ordered_json;

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
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
  if (const auto labels = d.find("labels"); labels != d.end() && labels->is_object())
    for (const auto& [key, value] : labels->items())
      if (value.is_string()) n.labels[key] = value.get<std::string>();
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
  if (e.id.empty() || e.network_id.empty() || e.container_id.empty())
    return fail(errc::internal, "damaged row of a network endpoint");
  return e;
}

std::string unique_of(const endpoint_record& e) {
  return e.network_id + '/' + (e.address ? net::to_string(*e.address) : e.id);
}

std::string network_json(const network_record& n, const std::map<std::string, endpoint_record>& by_container) {
  json ipam = {{"Driver", "default"}, {"Options", nullptr}, {"Config", nullptr}};
  if (n.subnet) {
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
  json options = json::object();
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
               {"Internal", false},
               {"Attachable", false},
               {"Ingress", false},
               {"ConfigFrom", {{"Network", ""}}},
               {"ConfigOnly", false},
               {"Containers", std::move(containers)},
               {"Options", std::move(options)},
               {"Labels", std::move(labels)}});
}

}  // namespace arca
