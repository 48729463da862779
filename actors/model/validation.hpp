// The checks of create and update, each in Docker's order and with its texts (errc::invalid_argument). Some also drop
// what the host cannot do, with a warning, as Docker does.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/create.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/host_facts.hpp"

namespace arca::model {

using warning_list = std::vector<std::string>;

inline tl::unexpected<error> refuse(std::string text) {
  return fail(errc::invalid_argument, std::move(text));
}

// Reading normalised documents: every field is there with its type or null.
const std::string& text_of(const json& from, const char* key);
int64_t number_of(const json& from, const char* key);
bool flag_of(const json& from, const char* key);
const json& list_of(const json& from, const char* key);    ///< empty when null
const json& object_of(const json& from, const char* key);  ///< empty when null
bool is_null(const json& from, const char* key);

/// "container:NAME" → NAME.
bool names_container(std::string_view mode, std::string& container);
/// Not bridge, host, none, default or container:….
bool is_user_defined(std::string_view network_mode);
/// The key of NetworkSettings.Networks: "default" is bridge; "" for container:….
std::string network_name_of(std::string_view network_mode);
bool is_ip4(const std::string& text);
bool is_ip6(const std::string& text);
bool is_mac(std::string_view text);

/// runconfig: combinations of NetworkMode with other options, isolation, QoS, real-time and shares.
result<void> check_runconfig(const json& config, const json& host_config, const host_facts& host);
/// Working directory (cleaned in place), stop signal, environment, health check.
result<void> check_config(json& config);
/// Mounts, extra hosts, ports, restart policy, capabilities, annotations.
result<void> check_host_config(const json& host_config, warning_list& warnings);
result<void> check_restart_policy(const json& policy);
/// Memory, CPU, cpusets, block I/O; `update` has the rules of POST …/update.
result<void> check_resources(json& resources, const host_facts& host, bool update, warning_list& warnings);
/// IPC, PID, UTS, cgroup namespace modes, runtime, shm size, tmpfs destinations.
result<void> check_platform(json& host_config, const host_facts& host, const create_settings& settings,
                            warning_list& warnings);
/// EndpointsConfig: addresses, aliases, MACs.
result<void> check_networking(const json& networking);
/// The query parameter of create and pull: "linux/amd64/v3".
result<void> check_platform_specifier(std::string_view text);

}  // namespace arca::model
