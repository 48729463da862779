// Volumes.
#include <nlohmann/json.hpp>

#include "actors/model/filters.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "http/handlers/common.hpp"
#include "http/handlers/handlers.hpp"

namespace arca::http {
namespace {

const volume_manager_actor& manager(call& c) {
  return engine_of(c).context().volumes;
}

std::map<std::string, std::string> string_map(const nlohmann::json& object) {
  std::map<std::string, std::string> all;
  if (!object.is_object()) return all;
  for (const auto& [key, value] : object.items())
    if (value.is_string()) all.emplace(key, value.get<std::string>());
  return all;
}

response volume_without_name() {
  return failed(errc::not_found, "get: no such volume");
}

}  // namespace

awaitable<response> volume_list(call& c) {
  list_volumes m;
  m.filters = c.req.query.get("filters");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> volume_inspect(call& c) {
  if (c.req.param.empty()) co_return volume_without_name();
  inspect_volume m;
  m.name = c.req.param;
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> volume_create(call& c) {
  const auto body = co_await json_body(c);
  if (!body) co_return error_response(body.error());
  const auto options = model::go::decode(*body, model::go::volume_create);
  if (!options) co_return error_response(options.error());
  if (!(*options)["ClusterVolumeSpec"].is_null()) co_return co_await no_swarm_manager(c);
  arca::create_volume m;
  m.name = options->value("Name", std::string());
  m.driver = options->value("Driver", std::string());
  const auto& labels = (*options)["Labels"];
  const auto& driver_options = (*options)["DriverOpts"];
  m.labels = string_map(labels);
  m.options = string_map(driver_options);
  m.has_labels = labels.is_object();
  m.has_options = driver_options.is_object();
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)), 201);
}

awaitable<response> volume_remove(call& c) {
  if (c.req.param.empty()) co_return volume_without_name();
  remove_volume m;
  m.name = c.req.param;
  m.force = c.req.query.flag("force");
  co_return done(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> volume_prune(call& c) {
  prune_volumes m;
  m.filters = c.req.query.get("filters");
  if (c.req.version.before(42)) {  // they mean every unused volume
    auto filters = model::filters::parse(m.filters);
    if (!filters) co_return error_response(filters.error());
    if (!filters->contains("all")) filters->add("all", "true");
    m.filters = filters->to_json();
  }
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> volume_update(call&) {
  co_return failed(errc::unavailable, "volume update only valid for cluster volumes, but swarm is unavailable");
}

}  // namespace arca::http
