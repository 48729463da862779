#include "actors/model/create_compat.hpp"

#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

json& member(json& from, const char* key) {
  return from[key];
}

result<void> check_options_fit_types(const json& host) {
  struct fit {
    const char* options;
    const char* type;
  };
  for (const auto& mount : list_of(host, "Mounts"))
    for (const auto& f : {fit{"VolumeOptions", "volume"}, fit{"BindOptions", "bind"}, fit{"TmpfsOptions", "tmpfs"}})
      if (!is_null(mount, f.options) && text_of(mount, "Type") != f.type)
        return refuse(std::string(f.options) + " must not be specified on mount type " +
                      go_quote(text_of(mount, "Type")));
  return {};
}

// Mounts of clients that are older than some of their options.
result<void> age_mounts(json& host, api_version version) {
  if (!host["Mounts"].is_array()) return {};
  for (auto& mount : host["Mounts"]) {
    const auto type = text_of(mount, "Type");
    auto& bind = member(mount, "BindOptions");
    if (bind.is_object()) {
      if (version.before(40)) bind["NonRecursive"] = false;
      if (version.before(42)) bind["CreateMountpoint"] = false;
    }
    if (version.before(42)) {
      if (type != "volume") mount["VolumeOptions"] = nullptr;
      if (type != "tmpfs") mount["TmpfsOptions"] = nullptr;
    }
    if (version.before(44) && type == "bind") {
      if (bind.is_object() && flag_of(bind, "ReadOnlyForceRecursive"))
        return refuse("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
    }
    if (version.before(45) && !text_of(object_of(mount, "VolumeOptions"), "Subpath").empty())
      return refuse("VolumeOptions.Subpath needs API v1.45 or newer");
    if (version.before(48) && type == "image") return refuse("Mount type \"Image\" needs API v1.48 or newer");
  }
  return {};
}

result<void> age_endpoints(json& request, api_version version) {
  auto& endpoints = request["NetworkingConfig"]["EndpointsConfig"];
  if (!endpoints.is_object()) return {};
  if (version.before(44) && endpoints.size() > 1) {
    std::string names;
    for (const auto& [name, unused] : endpoints.items()) names += (names.empty() ? "" : ", ") + name;
    return refuse("Container cannot be created with multiple network endpoints: " + names);
  }
  if (version.before(48))
    for (auto& endpoint : endpoints)
      if (endpoint.is_object()) endpoint["GwPriority"] = 0;
  return {};
}

// The endpoint that a container-wide MAC address belongs to; made when there is none.
result<json*> main_endpoint(json& request, const std::string& mode) {
  auto& endpoints = request["NetworkingConfig"]["EndpointsConfig"];
  if (!endpoints.is_object()) endpoints = json::object();
  const auto name = network_name_of(mode);
  if (!endpoints.contains(name) && !endpoints.empty())
    return refuse(
        "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the "
        "identity of a network in NetworkSettings.Networks");
  auto& endpoint = endpoints[name];
  if (!endpoint.is_object()) endpoint = json::object();
  return &endpoint;
}

result<void> move_mac_address(json& request, api_version version, warning_list& warnings) {
  const auto mac = text_of(request["Config"], "MacAddress");
  const auto mode = text_of(request["HostConfig"], "NetworkMode");
  const bool can_have = mode == "bridge" || is_user_defined(mode);
  if (version.before(44)) {
    if (mac.empty()) {
      auto& endpoints = request["NetworkingConfig"]["EndpointsConfig"];
      if (endpoints.is_object())
        for (auto& endpoint : endpoints)
          if (endpoint.is_object()) endpoint["MacAddress"] = "";
      return {};
    }
    if (!can_have) return refuse("conflicting options: mac-address and the network mode");
    ARCA_TRY(endpoint, main_endpoint(request, mode));
    (*endpoint)["MacAddress"] = mac;
    return {};
  }
  if (mac.empty()) return {};
  if (can_have) {
    ARCA_TRY(endpoint, main_endpoint(request, mode));
    if (text_of(*endpoint, "MacAddress").empty())
      (*endpoint)["MacAddress"] = mac;
    else if (text_of(*endpoint, "MacAddress") != mac)
      return refuse(
          "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be "
          "left empty");
  }
  warnings.emplace_back(
      "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.");
  request["Config"]["MacAddress"] = "";
  return {};
}

result<void> check_interface_sysctls(const json& host, api_version version) {
  const auto& mode = text_of(host, "NetworkMode");
  if (mode == "host" || starts_with(mode, "container:") || version.before(47)) return {};
  for (const auto& [name, value] : object_of(host, "Sysctls").items()) {
    const auto parts = split(name, '.');
    if (parts.size() >= 5 && parts[0] == "net" && parts[3] == "eth0")
      return refuse("interface specific sysctl setting " + go_quote(name) +
                    " must be supplied using driver option 'com.docker.network.endpoint.sysctls'");
  }
  return {};
}

}  // namespace

void name_default_network(json& request) {
  auto& mode = request["HostConfig"]["NetworkMode"];
  if (mode != "" && mode != "default") return;
  mode = "bridge";
  auto& endpoints = request["NetworkingConfig"]["EndpointsConfig"];
  if (!endpoints.is_object()) return;
  if (const auto given = endpoints.find("default"); given != endpoints.end()) {
    auto endpoint = std::move(*given);
    endpoints.erase("default");
    endpoints["bridge"] = std::move(endpoint);
  }
}

result<void> apply_version(json& request, api_version version, const host_facts& host_facts, warning_list& warnings) {
  auto& host = request["HostConfig"];
  if (version.before(25)) host["AutoRemove"] = false;
  if (version.before(40)) {
    host["KernelMemoryTCP"] = 0;
    if (host["IpcMode"] == "") host["IpcMode"] = "shareable";
  }
  if (version.before(41) && host_facts.cgroup_version == 1 && host["CgroupnsMode"] == "") host["CgroupnsMode"] = "host";
  if (version.before(42))
    host["ConsoleSize"] = json::array({0, 0});
  else
    host["KernelMemory"] = 0;
  if (!version.before(42)) ARCA_CHECK(check_options_fit_types(host));
  if (version.before(43)) host["Annotations"] = nullptr;
  if (version.before(44) && request["Config"]["Healthcheck"].is_object())
    request["Config"]["Healthcheck"]["StartInterval"] = 0;
  ARCA_CHECK(age_mounts(host, version));
  ARCA_CHECK(age_endpoints(request, version));
  ARCA_CHECK(move_mac_address(request, version, warnings));
  ARCA_CHECK(check_interface_sysctls(host, version));
  if (!is_null(host, "PidsLimit") && number_of(host, "PidsLimit") <= 0) host["PidsLimit"] = nullptr;
  return {};
}

}  // namespace arca::model
