// Docker's Config and HostConfig → OCI runtime spec, as Docker Engine 28.5 writes it. Pure: no file is read here.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "vm/oci/host.hpp"
#include "vm/oci/user.hpp"

namespace arca::oci {

struct mount_input {
  std::string type;    ///< bind, volume, tmpfs
  std::string source;  ///< host path; empty for tmpfs
  std::string destination;
  std::string propagation;  ///< "" rprivate
  bool read_only = false;
  bool recursive = true;      ///< of a bind; false for a single file
  std::string tmpfs_options;  ///< "size=64m,mode=1777"
};

struct spec_inputs {
  std::string id;                ///< container id, 64 hex
  const nlohmann::json& config;  ///< Docker's Config, image defaults merged in
  const nlohmann::json& host_config;
  std::vector<std::string> args;  ///< Path and Args of inspect
  resolved_user user;
  std::vector<mount_input> mounts;                     ///< of the user, in any order
  std::string hosts_path, hostname_path, resolv_path;  ///< host files; empty: not mounted
  std::string init_path;                               ///< host path of docker-init, when HostConfig.Init
  std::string cgroups_path;                            ///< "/arca/<id>/ctr"
  std::vector<device> devices;                         ///< gather_devices or, privileged, all_devices
  bool host_network = false;
  /// Namespaces that are joined, by kind ("network", "ipc", "pid"): what the launcher opens for them. Without "network"
  /// the container is in the launcher's own; empty: it gets a new one.
  std::map<std::string, std::string> joined;
  std::string joined_shm;                              ///< source of /dev/shm when an IPC namespace is joined
  std::map<std::string, std::string> network_sysctls;  ///< net.*, where the network is not the machine's own
  const host_limits& host;
  /// folders_without (program_search.hpp) of the program and $PATH of a process in a VM; empty: not asked.
  std::function<size_t(const std::string& program, const std::string& path)> lacking = {};
  std::vector<std::string> link_environment = {};  ///< of containers that this one is linked to
};

struct built_spec {
  std::string json;
  std::vector<std::string> warnings;  ///< for the user: limits that were lowered
};

/// errc and words as Docker's start has them.
result<built_spec> build_spec(const spec_inputs& in);

/// An exec: its `process` object. `exec` is Docker's exec configuration (Cmd, Env, User, WorkingDir, Tty, Privileged
/// …).
result<std::string> build_process(const spec_inputs& container, const nlohmann::json& exec, const resolved_user& user);

/// "the minimum allowed cpu-shares is 2" or the like.
result<void> check_cpu_shares(const nlohmann::json& host_config);

/// `linux.resources` alone, for POST /containers/{id}/update.
std::string build_resources(const nlohmann::json& host_config, const host_limits& host);

/// Docker's default net.* sysctls and those of HostConfig: they belong to the machine's network namespace, which exists
/// before the container, and are set there instead of by the launcher. Empty on the host's network.
std::map<std::string, std::string> network_sysctls(const nlohmann::json& host_config, bool host_network);

/// HostConfig.Tmpfs and a tmpfs of HostConfig.Mounts as inputs; "invalid tmpfs option \"foo\"" (errc::internal).
result<std::vector<mount_input>> tmpfs_mounts(const nlohmann::json& host_config);

/// --init is for a pid namespace of the container's own.
bool wants_init(const nlohmann::json& host_config);
/// Of a process object: the first N folders of $PATH lack the program (Arca's own; launchers ignore what they do not
/// know).
inline constexpr const char* lacking_folders = "arcaLackingFolders";

inline constexpr const char* init_destination = "/sbin/docker-init";

}  // namespace arca::oci
