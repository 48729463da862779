#include "actors/model/create.hpp"

#include <algorithm>

#include "actors/model/create_compat.hpp"
#include "actors/model/go_schema.hpp"
#include "actors/model/links.hpp"
#include "actors/model/log_options.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

constexpr int64_t default_shm_size = 64 << 20;

// {"Config", "HostConfig", "NetworkingConfig"} of the body, every field present.
result<json> decode_parts(std::string_view body) {
  ARCA_TRY(flat, go::decode_present(body, go::create_request, go::empty_body::error));
  json host = flat.contains("HostConfig") ? std::move(flat["HostConfig"]) : json();
  json networking = flat.contains("NetworkingConfig") ? std::move(flat["NetworkingConfig"]) : json();
  flat.erase("HostConfig");
  flat.erase("NetworkingConfig");
  if (flat.empty()) return refuse("config cannot be empty in order to create a container");
  go::fill(flat, go::container_config);
  if (!host.is_object()) host = go::zero(go::host_config);
  if (!networking.is_object()) networking = go::zero(go::networking_config);
  return json{
      {"Config", std::move(flat)}, {"HostConfig", std::move(host)}, {"NetworkingConfig", std::move(networking)}};
}

// "container:NAME" → "container:ID" for the three modes that may name one.
result<void> resolve_containers(json& host, const container_lookup& lookup) {
  if (!lookup) return {};
  for (const char* key : {"PidMode", "IpcMode", "NetworkMode"}) {
    std::string name;
    if (!names_container(text_of(host, key), name)) continue;
    if (auto id = lookup(name))
      host[key] = "container:" + *id;
    else if (std::string_view(key) != "NetworkMode")  // a missing network container is an error of start
      return refuse(id.error().message());
  }
  return {};
}

// Docker's adaptContainerSettings: what an option that is not given means.
result<void> fill_defaults(json& host, const host_facts& facts, const container_lookup& lookup) {
  if (const auto memory = number_of(host, "Memory"); memory > 0 && number_of(host, "MemorySwap") == 0)
    host["MemorySwap"] = memory > INT64_MAX / 2 ? INT64_MAX : memory * 2;
  if (number_of(host, "ShmSize") == 0) host["ShmSize"] = default_shm_size;
  if (host["IpcMode"] == "") host["IpcMode"] = "private";
  const bool privileged = flag_of(host, "Privileged");
  if (host["CgroupnsMode"] == "") host["CgroupnsMode"] = facts.cgroup_version == 2 ? "private" : "host";
  ARCA_CHECK(resolve_containers(host, lookup));
  const auto& options = list_of(host, "SecurityOpt");
  const bool has_label = std::any_of(options.begin(), options.end(), [](const json& o) {
    return split(o.get_ref<const std::string&>(), '=')[0] == "label";
  });
  if (!has_label && (privileged || host["IpcMode"] == "host" || host["PidMode"] == "host")) {
    if (host["SecurityOpt"].is_null()) host["SecurityOpt"] = json::array();
    host["SecurityOpt"].push_back("label=disable");
  }
  if (is_null(host, "OomKillDisable")) host["OomKillDisable"] = false;
  if (!privileged && is_null(host, "MaskedPaths"))
    host["MaskedPaths"] = {"/proc/asound",     "/proc/acpi",        "/proc/interrupts",
                           "/proc/kcore",      "/proc/keys",        "/proc/latency_stats",
                           "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                           "/proc/scsi",       "/sys/firmware",     "/sys/devices/virtual/powercap"};
  if (!privileged && is_null(host, "ReadonlyPaths"))
    host["ReadonlyPaths"] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  return {};
}

// Docker's parseSecurityOpt; its mistakes are status 500.
result<void> check_security_options(const json& host) {
  for (const auto& entry : list_of(host, "SecurityOpt")) {
    const auto& option = entry.get_ref<const std::string&>();
    if (option == "no-new-privileges" || option == "disable" || option == "writable-cgroups") continue;
    auto separator = option.find('=');
    if (separator == std::string::npos) separator = option.find(':');
    if (separator == std::string::npos) return fail(errc::internal, "invalid --security-opt 1: " + go_quote(option));
    const auto key = option.substr(0, separator), value = option.substr(separator + 1);
    if (key == "label" || key == "apparmor" || key == "seccomp") continue;
    static constexpr std::string_view booleans[] = {"1", "t", "T", "TRUE",  "true",  "True",
                                                    "0", "f", "F", "FALSE", "false", "False"};
    const bool boolean = std::find(std::begin(booleans), std::end(booleans), value) != std::end(booleans);
    if ((key == "no-new-privileges" || key == "writable-cgroups") && boolean) continue;
    return fail(errc::internal, "invalid --security-opt 2: " + go_quote(option));
  }
  return {};
}

// Docker's overlay2 on anything but xfs with project quotas; its mistakes are status 500.
result<void> check_storage_options(const json& host) {
  for (const auto& [key, value] : object_of(host, "StorageOpt").items()) {
    if (lower(key) == "size")
      return fail(errc::internal, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
    return fail(errc::internal, "Unknown option " + lower(key));
  }
  return {};
}

// "NAME[:ALIAS]" of HostConfig.Links
result<void> check_links(const json& host, const container_lookup& lookup) {
  for (const auto& entry : list_of(host, "Links")) {
    ARCA_TRY(link, parse_link(entry.get<std::string>()));
    if (!lookup) continue;
    if (auto id = lookup(link.container); !id)
      return refuse("could not get container for " + link.container + ": " + id.error().message());
  }
  if (is_user_defined(text_of(host, "NetworkMode")) && !list_of(host, "Links").empty())
    return fail(errc::unsupported, "links are supported on the default bridge network only");
  return {};
}

}  // namespace

result<json> decode_create(std::string_view body, api_version version, std::string_view platform,
                           const host_facts& host, const create_settings& settings, const container_lookup& lookup) {
  warning_list warnings;
  ARCA_TRY(request, decode_parts(body));
  auto& config = request["Config"];
  auto& host_config = request["HostConfig"];
  ARCA_CHECK(check_runconfig(config, host_config, host));
  name_default_network(request);
  if (!version.before(41) && !platform.empty()) ARCA_CHECK(check_platform_specifier(platform));
  ARCA_CHECK(apply_version(request, version, host, warnings));

  auto& policy = host_config["RestartPolicy"];
  if (policy["Name"] == "") policy["Name"] = "no";
  ARCA_CHECK(check_config(config));
  ARCA_CHECK(check_host_config(host_config, warnings));
  ARCA_CHECK(check_resources(host_config, host, false, warnings));
  ARCA_CHECK(check_platform(host_config, host, settings, warnings));
  ARCA_CHECK(check_networking(request["NetworkingConfig"]));
  ARCA_CHECK(fill_defaults(host_config, host, lookup));
  request["Warnings"] = warnings;
  return std::move(request);
}

result<void> complete_create(json& request, const json& image_config, const std::string& container_id,
                             const create_settings& settings, const container_lookup& lookup) {
  auto& config = request["Config"];
  auto& host = request["HostConfig"];
  if (image_config.is_object()) merge_image_config(config, image_config);
  const auto& entrypoint = list_of(config, "Entrypoint");
  if (entrypoint.size() == 1 && entrypoint[0] == "") config["Entrypoint"] = nullptr;
  if (list_of(config, "Entrypoint").empty() && list_of(config, "Cmd").empty()) return refuse("no command specified");

  auto& log = host["LogConfig"];
  if (text_of(log, "Type").empty()) log["Type"] = settings.log_driver;
  if (!log["Config"].is_object()) log["Config"] = json::object();
  ARCA_CHECK(check_log_config(log));
  ARCA_CHECK(check_security_options(host));
  ARCA_CHECK(check_storage_options(host));
  ARCA_CHECK(check_links(host, lookup));

  if (text_of(config, "Hostname").empty())
    config["Hostname"] = text_of(host, "NetworkMode") == "host" ? this_host().hostname : container_id.substr(0, 12);
  return {};
}

}  // namespace arca::model
