// Images, but for what streams.
#include <nlohmann/json.hpp>

#include "actors/model/filters.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "http/handlers/common.hpp"

namespace arca::http {
namespace {

const image_manager_actor& manager(call& c) {
  return engine_of(c).context().images;
}

std::string text_of(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// What older clients see in GET /images/json.
void make_older(nlohmann::json& image, model::api_version version) {
  if (!image.is_object()) return;
  image["Containers"] = -1;
  if (version.before(44) && image.contains("Size")) image["VirtualSize"] = image["Size"];
  if (!version.before(43)) return;
  auto& tags = image["RepoTags"];
  auto& digests = image["RepoDigests"];
  if (tags.empty() && digests.empty()) {
    tags = {"<none>:<none>"};
    digests = {"<none>@<none>"};
  }
  if (tags.empty()) tags = nullptr;
  if (digests.empty()) digests = nullptr;
}

// Docker's container.Config as it prints it, from a value that may lack fields.
nlohmann::json whole_config(nlohmann::json given) {
  if (!given.is_object()) given = nlohmann::json::object();
  model::go::fill(given, model::go::container_config);
  return nlohmann::json::parse(model::go::marshal(given, model::go::container_config), nullptr, false);
}

// What older clients see in GET /images/NAME/json.
void make_older_inspect(nlohmann::json& image, model::api_version version) {
  if (!image.is_object()) return;
  if (version.before(44) && image.contains("Size")) image["VirtualSize"] = image["Size"];
  if (version.before(45)) image["ContainerConfig"] = whole_config({});
  if (version.before(50)) image["Config"] = whole_config(std::move(image["Config"]));
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
  if (const auto& name = q.get("filter"); !name.empty() && c.req.version.before(41)) {  // what came before filters
    auto filters = model::filters::parse(m.filters);
    if (!filters) co_return error_response(filters.error());
    filters->add("reference", name);
    m.filters = filters->to_json();
  }
  auto listed = co_await ask_with_deadline(c, manager(c), std::move(m));
  if (listed && c.req.version.before(51)) {
    auto images = nlohmann::json::parse(listed->text, nullptr, false);
    if (images.is_array()) {
      for (auto& image : images) make_older(image, c.req.version);
      listed->text = text_of(images);
    }
  }
  co_return document(std::move(listed));
}

awaitable<response> image_inspect(call& c) {
  inspect_image m;
  m.reference = c.req.param;
  m.platform = c.req.query.get("platform");
  m.manifests = c.req.query.flag("manifests");
  if (m.manifests && !m.platform.empty())
    co_return failed(errc::invalid_argument, "conflicting options: manifests and platform options cannot both be set");
  auto found = co_await ask_with_deadline(c, manager(c), std::move(m));
  if (found && c.req.version.before(50)) {
    auto image = nlohmann::json::parse(found->text, nullptr, false);
    make_older_inspect(image, c.req.version);
    if (!image.is_discarded()) found->text = text_of(image);
  }
  co_return document(std::move(found));
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
  if (m.repository.empty()) co_return response::empty(200);  // Docker does nothing at all then
  const auto tagged = co_await ask_with_deadline(c, manager(c), std::move(m));
  co_return tagged ? response::empty(201) : error_response(tagged.error());
}

awaitable<response> image_remove(call& c) {
  if (c.req.param.find_first_not_of(" \t\r\n") == std::string::npos)
    co_return failed(errc::invalid_argument, "image name cannot be blank");
  remove_image m;
  m.reference = c.req.param;
  m.force = c.req.query.flag("force");
  m.prune_parents = !c.req.query.flag("noprune");
  if (!c.req.version.before(50)) m.platforms = c.req.query.all("platforms");
  const auto all = engine_of(c).containers();
  for (const auto& [id, entry] : all->by_id())
    if (model::shows_running(*entry.record)) m.running.push_back(id);
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

awaitable<response> image_prune(call& c) {
  prune_images m;
  m.filters = c.req.query.get("filters");
  co_return document(co_await ask_with_deadline(c, manager(c), std::move(m)));
}

}  // namespace arca::http
