// Images, but for what streams.
#include <nlohmann/json.hpp>

#include "http/handlers/common.hpp"

namespace arca::http {
namespace {

const image_manager_actor& manager(call& c) {
  return engine_of(c).context().images;
}

// Clients before 1.44 know a VirtualSize, those before 1.45 a ContainerConfig.
void add_old_fields(nlohmann::json& image, model::api_version version, bool inspected) {
  if (!image.is_object()) return;
  if (version.before(44) && image.contains("Size")) image["VirtualSize"] = image["Size"];
  if (inspected && version.before(45)) image["ContainerConfig"] = nlohmann::json::object();
}

result<json_document> for_version(result<json_document> d, model::api_version version, bool inspected) {
  if (!d || !version.before(45)) return d;
  auto parsed = nlohmann::json::parse(d->text, nullptr, false);
  if (parsed.is_array()) {
    for (auto& image : parsed) add_old_fields(image, version, inspected);
  } else {
    add_old_fields(parsed, version, inspected);
  }
  if (!parsed.is_discarded()) d->text = parsed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return d;
}

}  // namespace

awaitable<response> image_list(call& c) {
  const auto& q = c.req.query;
  list_images m;
  m.all = q.flag("all");
  m.digests = q.flag("digests");
  m.shared_size = q.flag("shared-size");
  m.manifests = q.flag("manifests");
  m.filters = q.get("filters");
  co_return document(for_version(co_await ask_with_deadline(c, manager(c), std::move(m)), c.req.version, false));
}

awaitable<response> image_inspect(call& c) {
  inspect_image m;
  m.reference = c.req.param;
  m.platform = c.req.query.get("platform");
  m.manifests = c.req.query.flag("manifests");
  if (m.manifests && !m.platform.empty())
    co_return failed(errc::invalid_argument, "conflicting options: manifests and platform options cannot both be set");
  co_return document(for_version(co_await ask_with_deadline(c, manager(c), std::move(m)), c.req.version, true));
}

awaitable<response> image_history(call& c) {
  arca::image_history m;
  m.reference = c.req.param;
  m.platform = c.req.query.get("platform");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> image_tag(call& c) {
  tag_image m;
  m.source = c.req.param;
  m.repository = c.req.query.get("repo");
  m.tag = c.req.query.get("tag");
  const auto tagged = co_await ask_with_deadline(c, manager(c), std::move(m));
  co_return tagged ? response::empty(201) : error_response(tagged.error());
}

awaitable<response> image_remove(call& c) {
  remove_image m;
  m.reference = c.req.param;
  m.force = c.req.query.flag("force");
  m.prune_parents = !c.req.query.flag("noprune");
  for (const auto& [id, entry] : engine_of(c).containers()->by_id())
    if (model::shows_running(*entry.record)) m.running.push_back(id);
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> image_prune(call& c) {
  prune_images m;
  m.filters = c.req.query.get("filters");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

}  // namespace arca::http
