// A container as it is stored (row `containers`) and as every other view of it is made from: inspect, list, OCI spec.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::model {

/// actors/container/state.hpp has the transitions. Docker shows starting as created, stopping as running.
enum class container_status : uint8_t {
  created,
  starting,
  running,
  paused,
  stopping,
  restarting,
  exited,
  removing,
  dead
};
std::string_view to_string(container_status s);      ///< our name, as stored
std::string_view docker_status(container_status s);  ///< what Docker shows in State.Status
result<container_status> parse_status(std::string_view name);

struct container_state {
  container_status status = container_status::created;
  bool oom_killed = false;
  int64_t pid = 0;
  int32_t exit_code = 0;
  std::string error;
  int64_t started_at = 0, finished_at = 0;  ///< unix nanoseconds, 0 never
  nlohmann::json health;                    ///< State.Health as inspect shows it; null: no health check runs or ran
};

struct mount_point {
  std::string type;  ///< bind, volume, tmpfs
  std::string name;  ///< of the volume
  std::string source, destination, driver, mode, propagation;
  bool read_write = true;
};

struct endpoint_settings {  ///< of one network, as NetworkSettings.Networks shows it
  std::string network_name, network_id, endpoint_id, driver, mac, ip4, gateway4;
  int32_t prefix4 = 0;
  nlohmann::json config;  ///< the user's EndpointSettings (Links, Aliases, IPAMConfig, DriverOpts, GwPriority)
};

struct container_record {
  std::string id, name;   ///< name without "/"
  int64_t created = 0;    ///< unix nanoseconds
  std::string image_ref;  ///< as the user named it (Config.Image)
  std::string image_id;   ///< "sha256:…"; empty: created without an image
  std::string os = "linux";
  std::vector<std::string> layers;  ///< folders, topmost first
  nlohmann::json config;            ///< Docker's Config, normalised (every field present), image defaults merged in
  nlohmann::json host_config;       ///< Docker's HostConfig, normalised
  nlohmann::json networking;        ///< NetworkingConfig.EndpointsConfig as given
  std::vector<mount_point> mounts;
  std::vector<endpoint_settings> endpoints;
  nlohmann::json links;  ///< what the last start found of HostConfig.Links: {"hosts": […], "env": […]}, or null
  nlohmann::json ports;  ///< NetworkSettings.Ports while it runs: {"80/tcp": [{HostIp, HostPort}] or null}
  container_state state;
  std::string runtime;      ///< namespace or vm, resolved
  std::string machine;      ///< vm::machine_identity as JSON while there is one
  nlohmann::json details;   ///< "Machine" of inspect while it runs in a virtual machine, else null
  uint64_t generation = 0;  ///< of the last start
  int64_t restart_count = 0;
  bool stopped_by_user = false;  ///< unless-stopped: do not start with the daemon
  int64_t restart_delay_ms = 0;  ///< current back-off
  bool start_wanted = false;     ///< of docker restart or the policy: a start that a later daemon makes up for
  bool remove_volumes = false;   ///< its removal takes the anonymous volumes along
  std::string log_path, hosts_path, hostname_path, resolv_path;
};

/// State.Status of inspect and State of the list: docker_status, but a container that is started again is "exited"
/// until it runs.
std::string_view shown_status(const container_record& r);
/// Docker's State.Running: also while paused, stopping or waiting for a restart.
bool shows_running(const container_record& r);

std::string to_document(const container_record& r);
result<container_record> from_document(const std::string& text);

/// Entrypoint + Cmd as they are executed: Path and Args of inspect.
struct command {
  std::string path;
  std::vector<std::string> args;
};
command command_of(const container_record& r);

}  // namespace arca::model
