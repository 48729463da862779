// GET /info and GET /version.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "actors/model/api_version.hpp"
#include "actors/model/host_facts.hpp"

namespace arca::model {

inline constexpr std::string_view engine_version = "0.1.0";

struct engine_facts {
  std::string id;  ///< of this engine, kept in the data root
  std::string data_root;
  std::string commit = "unknown", build_time;
  std::string default_machine = "namespace";    ///< what runs behind "runc": namespace or vm
  std::string machine_reason;                   ///< why: "no /dev/kvm"; shown in DriverStatus
  std::string hypervisor, acceleration, guest;  ///< for virtual machines; shown there too, when not empty
  std::string runtime_path = "crun";            ///< the OCI runtime's program
  std::vector<std::string> labels;
  std::string log_driver = "json-file";
  std::vector<std::string> mirrors;                        ///< URLs for docker.io
  std::vector<std::string> insecure_registries;            ///< host[:port]
  std::vector<std::pair<std::string, int>> address_pools;  ///< base, size
  std::string http_proxy, https_proxy, no_proxy;
  bool debug = false;
};

struct engine_counts {
  int64_t containers = 0, running = 0, paused = 0, stopped = 0, images = 0;
  int64_t open_files = 1, actors = 1, event_listeners = 0;
  int64_t now_nanos = 0;
};

std::string info_json(const host_facts& host, const engine_facts& engine, const engine_counts& counts,
                      api_version version = {});
std::string version_json(const host_facts& host, const engine_facts& engine);
/// What /info warns of: "WARNING: No swap limit support" and the like.
std::vector<std::string> host_warnings(const host_facts& host);

}  // namespace arca::model
