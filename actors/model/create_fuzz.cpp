// Whatever a client sends to create, and what is then shown of it, must be decodable again.
#include <cstdlib>

#include "actors/model/create.hpp"
#include "actors/model/exec.hpp"
#include "actors/model/inspect.hpp"
#include "actors/model/log_options.hpp"
#include "actors/model/mounts.hpp"
#include "actors/model/summary.hpp"
#include "actors/model/update.hpp"

using namespace arca::model;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const api_version version{24 + data[0] % 28};
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  host_facts host;
  host.cpu_list = "0-3";
  host.mem_nodes = "0";
  if (auto exec = decode_exec(body, version)) exec_inspect_json({}, *exec);
  auto update = decode_update(body, version, host);
  auto made = decode_create(body, version, {}, host);
  if (!made) return 0;
  const json image = {{"Env", {"PATH=/bin"}}, {"Cmd", {"sh"}}, {"Labels", {{"a", "b"}}}};
  if (!complete_create(*made, image, std::string(64, 'a'))) return 0;
  container_record r;
  r.id = std::string(64, 'a');
  r.name = "fuzz";
  r.config = (*made)["Config"];
  r.host_config = (*made)["HostConfig"];
  r.networking = (*made)["NetworkingConfig"]["EndpointsConfig"];
  if (auto plan = plan_mounts(r.config, r.host_config))
    for (const auto& m : *plan) r.mounts.push_back(m.point);
  if (auto log = resolve_log_options(r.host_config["LogConfig"], {}, r.config, {}); !log) return 0;
  if (update) apply_update(r.host_config, *update, false).has_value();
  r.state.status = container_status::running;
  r.generation = 1;
  auto back = from_document(to_document(r));
  if (!back) std::abort();
  if (!parse_document(inspect_json(*back, {}, version))) std::abort();
  std::string shown;
  append_summary(shown, make_summary(*back), *back, 1);
  auto parsed = parse_document(shown);
  if (!parsed || (*parsed)["Status"] == "" || !(*parsed)["Labels"].is_object()) std::abort();
  return 0;
}
