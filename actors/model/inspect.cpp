#include "actors/model/inspect.hpp"

#include <algorithm>

#include "actors/model/go_schema.hpp"
#include "actors/model/networks.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

bool live(const container_record& r) {
  return shows_running(r) && shown_status(r) != "restarting";
}

json state_json(const container_record& r) {
  const auto& s = r.state;
  return {{"Status", shown_status(r)},
          {"Running", shows_running(r)},
          {"Paused", s.status == container_status::paused},
          {"Restarting", shown_status(r) == "restarting"},
          {"OOMKilled", s.oom_killed},
          {"Dead", s.status == container_status::dead},
          {"Pid", live(r) ? s.pid : 0},
          {"ExitCode", s.exit_code},
          {"Error", s.error},
          {"StartedAt", rfc3339_nano(s.started_at)},
          {"FinishedAt", rfc3339_nano(s.finished_at)},
          {"Health", s.health}};
}

json graph_driver_json(const container_record& r, const std::string& data_root) {
  const auto dir = data_root + "/containers/" + r.id;
  std::string lower;
  for (const auto& layer : r.layers) lower += (lower.empty() ? "" : ":") + layer;
  json data = {{"ID", r.id}, {"MergedDir", dir + "/merged"}, {"UpperDir", dir + "/upper"}, {"WorkDir", dir + "/work"}};
  data["LowerDir"] = lower.empty() ? dir + "/empty" : lower;
  return {{"Data", std::move(data)}, {"Name", "overlay2"}};
}

// The endpoint's names in the DNS of a user-defined network.
json dns_names(const container_record& r, const json& given) {
  json names = json::array();
  const auto add = [&](const std::string& name) {
    if (!name.empty() && std::find(names.begin(), names.end(), json(name)) == names.end()) names.push_back(name);
  };
  add(r.name);
  for (const auto& alias : list_of(given, "Aliases")) add(alias.get<std::string>());
  add(r.id.substr(0, 12));
  add(text_of(r.config, "Hostname"));
  return names;
}

json endpoint_json(const container_record& r, const std::string& network, const json& given,
                   const endpoint_settings* e) {
  json out = go::zero(go::endpoint_settings);
  for (const char* key : {"IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts", "GwPriority"})
    if (const auto found = given.find(key); found != given.end()) out[key] = *found;
  if (e == nullptr) return out;
  out["NetworkID"] = e->network_id;
  if (is_user_defined(network)) out["DNSNames"] = dns_names(r, given);
  if (!live(r)) return out;
  out["EndpointID"] = e->endpoint_id;
  out["MacAddress"] = e->mac;
  out["Gateway"] = e->gateway4;
  out["IPAddress"] = e->ip4;
  out["IPPrefixLen"] = e->prefix4;
  return out;
}

json network_settings_json(const container_record& r, const std::string& mode) {
  json out = go::zero(go::network_settings);
  out["Networks"] = networks_json(r);
  // The fields of the default network are repeated above it, for clients that know only one.
  if (const auto bridge = out["Networks"].find("bridge"); bridge != out["Networks"].end())
    for (const char* key : {"EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress",
                            "IPPrefixLen", "IPv6Gateway", "MacAddress"})
      out[key] = (*bridge)[key];
  out["Ports"] = json::object();
  std::string joined;
  if (!live(r) || names_container(mode, joined)) return out;
  const auto sandbox = digest_of("sandbox " + r.id + " " + std::to_string(r.generation)).substr(7);
  out["SandboxID"] = sandbox;
  out["SandboxKey"] =
      mode == "host" ? "/var/run/docker/netns/default" : "/proc/" + std::to_string(r.state.pid) + "/ns/net";
  if (mode == "host" || mode == "none") return out;
  if (r.ports.is_object()) {
    out["Ports"] = r.ports;
    return out;
  }
  for (const auto& [port, unused] : object_of(r.config, "ExposedPorts").items()) {
    const auto key = port.find('/') == std::string::npos ? port + "/tcp" : port;
    out["Ports"][key] = nullptr;
  }
  return out;
}

// "name:alias" of Links as Docker prints them.
json links_json(const container_record& r) {
  json out = json::array();
  for (const auto& entry : list_of(r.host_config, "Links")) {
    const auto link = entry.get<std::string>();
    const auto colon = link.find(':');
    const auto name = link.substr(0, colon), alias = colon == std::string::npos ? name : link.substr(colon + 1);
    out.push_back("/" + name + ":/" + r.name + "/" + alias);
  }
  return out.empty() ? json() : out;
}

// Docker sets the paths of its files at the first start, the log's when it makes the process.
void add_paths(json& out, const container_record& r) {
  const bool started = r.generation > 0;
  out["ResolvConfPath"] = started ? r.resolv_path : "";
  out["HostnamePath"] = started ? r.hostname_path : "";
  out["HostsPath"] = started ? r.hosts_path : "";
  const bool refused_before_log =
      r.state.started_at == 0 && r.state.exit_code == 128 &&
      !starts_with(r.state.error, "failed to set up container networking") &&
      !starts_with(r.state.error, "failed to create task for container: failed to create shim");
  const bool file = text_of(object_of(r.host_config, "LogConfig"), "Type") == "json-file";
  out["LogPath"] = started && file && !refused_before_log ? r.log_path : "";
}

}  // namespace

nlohmann::json networks_json(const container_record& r) {
  json out = json::object();
  static const json nothing = json::object();
  const auto add = [&](const std::string& network, const json& given, const endpoint_settings* e) {
    out[network] = endpoint_json(r, network, given.is_object() ? given : nothing, e);
  };
  const auto name = network_to_join(r);
  if (!starts_with(name, "container:")) add(name, nothing, nullptr);
  if (r.networking.is_object())
    for (const auto& [network, given] : r.networking.items()) add(network, given, nullptr);
  for (const auto& e : r.endpoints) add(e.network_name, e.config, &e);
  return out;
}

nlohmann::json mounts_json(const container_record& r) {
  json out = json::array();
  for (const auto& m : r.mounts)
    out.push_back({{"Type", m.type},
                   {"Name", m.name},
                   {"Source", m.source},
                   {"Destination", m.destination},
                   {"Driver", m.driver},
                   {"Mode", m.mode},
                   {"RW", m.read_write},
                   {"Propagation", m.propagation}});
  std::stable_sort(out.begin(), out.end(),
                   [](const json& a, const json& b) { return text_of(a, "Destination") < text_of(b, "Destination"); });
  return out;
}

std::string inspect_json(const container_record& r, const inspect_extras& extras, api_version version) {
  const auto command = command_of(r);
  json config = r.config;
  // The address that the main network was asked for is shown in its old place too.
  const auto main = network_name_of(text_of(r.host_config, "NetworkMode"));
  if (r.networking.is_object())
    if (const auto& mac = text_of(object_of(r.networking, main.c_str()), "MacAddress"); !mac.empty())
      config["MacAddress"] = mac;
  json host = r.host_config;
  host["Links"] = links_json(r);
  json out = {{"Id", r.id},
              {"Created", rfc3339_nano(r.created)},
              {"Path", command.path},
              {"Args", command.args},
              {"State", state_json(r)},
              {"Image", r.image_id},
              {"Name", "/" + r.name},
              {"RestartCount", r.restart_count},
              {"Driver", "overlay2"},
              {"Platform", r.os},
              {"MountLabel", ""},
              {"ProcessLabel", ""},
              {"AppArmorProfile", ""},
              {"GraphDriver", graph_driver_json(r, extras.data_root)},
              {"Mounts", mounts_json(r)},
              {"Config", std::move(config)}};
  out["ExecIDs"] = extras.exec_ids.empty() ? json() : json(extras.exec_ids);
  out["NetworkSettings"] = network_settings_json(r, text_of(r.host_config, "NetworkMode"));
  out["HostConfig"] = std::move(host);
  if (extras.with_size) {
    out["SizeRw"] = extras.size_rw;
    out["SizeRootFs"] = extras.size_root_fs;
  }
  add_paths(out, r);
  if (live(r) && r.details.is_object()) out["Machine"] = r.details;
  return inspect_for_version(go::marshal(out, go::container_inspect), version);
}

std::string inspect_for_version(std::string newest, api_version version) {
  if (!version.before(45)) return newest;
  auto parsed = parse_document(newest);
  if (!parsed || !parsed->is_object()) return newest;
  auto& out = *parsed;
  const auto id = text_of(out, "Id").substr(0, 12);
  auto& networks = out["NetworkSettings"]["Networks"];
  if (networks.is_object())
    for (auto& [network, endpoint] : networks.items()) {
      if (!is_user_defined(network) || !endpoint.is_object()) continue;
      // Older clients look for the short id among the aliases.
      json names = list_of(endpoint, "Aliases");
      for (const auto& name : {id, text_of(out["Config"], "Hostname")})
        if (std::find(names.begin(), names.end(), json(name)) == names.end()) names.push_back(name);
      endpoint["Aliases"] = std::move(names);
    }
  return go::marshal(out, go::container_inspect);
}

}  // namespace arca::model
