// The daemon's settings: built-in defaults, then the config file, then environment, then flags (tools/arca).
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca {

/// How one registry host is reached.
struct registry_settings {
  std::vector<std::string> mirrors;  ///< URLs tried first, in order, for pulls
  bool insecure = false;             ///< plain HTTP or an unverified certificate is accepted
  std::string ca_dir;                ///< folder of *.crt that are trusted beside the system's (docker's certs.d form)
};

struct address_pool {
  std::string base;  ///< "172.17.0.0/16"
  int size = 24;     ///< prefix length of the subnets cut from it
};

struct settings {
  std::string socket_path = "/var/run/arca.sock";
  std::vector<std::string> hosts;  ///< further listeners: "tcp://127.0.0.1:2375", "unix:///path"
  bool tls = false;                ///< TLS on tcp hosts
  std::string tls_ca, tls_cert, tls_key;
  bool tls_verify = false;          ///< clients must show a certificate signed by tls_ca
  bool allow_insecure_tcp = false;  ///< plain tcp on a non-loopback address is refused without it
  std::string data_root = "/var/lib/arca";
  std::string run_root = "/run/arca";
  std::string log_level = "info";
  std::string log_format = "text";                      ///< text or json
  std::string default_runtime = "auto";                 ///< auto, namespace, vm
  std::map<std::string, registry_settings> registries;  ///< by host[:port]; "docker.io" for Docker Hub
  std::string log_driver = "json-file";                 ///< default of containers: json-file or none
  std::map<std::string, std::string> log_opts = {{"max-size", "20m"}, {"max-file", "5"}};
  std::vector<address_pool> address_pools = {{"172.17.0.0/16", 16}, {"172.18.0.0/15", 16}, {"172.20.0.0/14", 16},
                                             {"172.24.0.0/14", 16}, {"172.28.0.0/14", 16}, {"192.168.0.0/16", 20}};
  std::string bridge_name = "arca0";     ///< the device of the default network
  bool stop_containers_on_exit = false;  ///< SIGTERM stops the containers instead of leaving them to their agents
  int shutdown_timeout = 10;             ///< seconds a container gets to stop then
  std::string kernel_path, initrd_path;  ///< of machines of kind vm; empty: what `arca setup` made
  std::string kernel_arguments;          ///< of those, appended to Arca's own
  std::string qemu_path = "/usr/bin/qemu-system-x86_64";
  std::string vm_accelerator = "auto";  ///< auto (KVM where it can boot a guest), kvm, tcg
  int vm_memory = 256;                  ///< MiB of a VM whose container has no limit
  int vm_cpus = 1;                      ///< processors of a VM whose container has no limit
  int vm_pool = -1;        ///< booted, stopped VMs kept ready; -1: auto, none, or what fits where VMs are the default
  int vm_pool_memory = 0;  ///< MiB that those may have together; 0: no limit
  int vm_pool_idle = 0;    ///< seconds without a start after which they are given up until the next; 0: never
  std::string guest_path;  ///< arca-guest; empty: beside the arca program
  std::string cgroup_parent = "/arca";
  int agent_pool = 4;               ///< idle agents kept ready; 0 turns the pool off
  std::vector<std::string> labels;  ///< of the daemon, shown by info
};

/// guest_path, or arca-guest beside the running program.
std::string guest_program(const settings& config);

/// Applies one JSON document (the text of a config file). An unknown key, a wrong type or a wrong value is an
/// errc::invalid_argument that names the key.
result<void> apply_config(settings& into, const std::string& json_text, const std::string& file_name);

/// Reads /etc/arca/config.json, or ~/.arca/config.json where that is missing, or `path` if it is not empty (then it
/// must exist), and applies it.
result<void> load_config_file(settings& into, const std::string& path = {});

}  // namespace arca
