// GET /info and GET /version.
#pragma once
#include <string>
#include <vector>

#include "actors/model/api_version.hpp"
#include "actors/model/host_facts.hpp"

namespace arca::model {

inline constexpr std::string_view engine_version = "0.1.0";

struct engine_facts {
  std::string id;         ///< of this engine, kept in the data root
  std::string data_root;
  std::string commit = "unknown", build_time;
  std::string default_runtime_kind = "namespace";  ///< what runs behind "runc": namespace or vm
  std::string runtime_reason;                      ///< why, shown in DriverStatus' neighbour Warnings-free list
  std::vector<std::string> labels;
  std::string log_driver = "json-file";
  std::vector<std::string> insecure_registries, mirrors;  ///< of docker.io
  std::vector<std::pair<std::string, std::string>> address_pools;  ///< base, size
  std::string http_proxy, https_proxy, no_proxy;
  std::vector<std::string> warnings;
  bool debug = false;
};

struct engine_counts {
  int64_t containers = 0, running = 0, paused = 0, stopped = 0, images = 0;
  int64_t open_files = 0, actors = 0, event_listeners = 0;
  int64_t now_nanos = 0;
};

std::string info_json(const host_facts& host, const engine_facts& engine, const engine_counts& counts,
                      api_version version = {});
std::string version_json(const host_facts& host, const engine_facts& engine, api_version version = {});

}  // namespace arca::model
