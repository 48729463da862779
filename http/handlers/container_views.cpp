// Reading containers: list, inspect, top, stats.
#include <nlohmann/json.hpp>

#include "actors/image/image_catalog.hpp"
#include "actors/model/inspect.hpp"
#include "actors/model/list_filters.hpp"
#include "actors/model/summary.hpp"
#include "http/handlers/common.hpp"
#include "persistence/base/text.hpp"
#include "persistence/registry/reference.hpp"

namespace arca::http {
namespace {

int64_t number_at(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

// Image ids that the `ancestor` filter names: only the image manager knows.
awaitable<result<std::map<std::string, std::string>>> ancestors(call& c, const model::filters& where) {
  std::map<std::string, std::string> ids;
  for (const auto& name : where.get("ancestor")) {
    inspect_image m;
    m.reference = name;
    auto found = co_await ask_with_deadline(c, engine_of(c).context().images, std::move(m));
    if (!found && found.error().code() != errc::not_found && found.error().code() != errc::invalid_argument)
      co_return fail(found.error());
    if (!found) continue;
    const auto parsed = nlohmann::json::parse(found->text, nullptr, false);
    if (parsed.is_object() && parsed.contains("Id") && parsed["Id"].is_string())
      ids[name] = parsed["Id"].get<std::string>();
  }
  co_return ids;
}

awaitable<void> add_sizes(call& c, const container_actor& of, model::summary_options& options) {
  inspect_container m;
  m.size = true;
  auto found = co_await ask_with_deadline(c, of, std::move(m));
  const auto parsed = found ? nlohmann::json::parse(found->text, nullptr, false) : nlohmann::json();
  options.with_size = parsed.is_object();  // else it is being removed
  options.size_rw = number_at(parsed, "SizeRw");
  options.size_root_fs = number_at(parsed, "SizeRootFs");
}

// The name that the container was made from is another image's by now, or nobody's.
bool image_moved(const model::container_record& r, const image_names& names) {
  if (is_id_prefix(r.image_id, r.image_ref)) return false;
  const auto name = registry::reference::parse(r.image_ref);
  if (!name) return r.image_ref != r.image_id;
  const auto found = names.find(name->favor_digest().with_latest().string());
  return found == names.end() || found->second != r.image_id;
}

}  // namespace

std::shared_ptr<const std::string> list_cache::find(const basis& of, const std::string& query) const {
  const std::lock_guard guard(lock_);
  return of_ == of && query_ == query ? text_ : nullptr;
}

void list_cache::put(basis of, std::string query, std::shared_ptr<const std::string> text) {
  const std::lock_guard guard(lock_);
  std::swap(of_, of);  // the old ones are destroyed without the lock
  text_.swap(text);
  query_ = std::move(query);
}

// From the directory alone, without a mailbox; only `size` and the filter `ancestor` ask an actor.
awaitable<response> container_list(call& c) {
  const auto directory = engine_of(c).containers();
  const auto now = now_nanos();
  const list_cache::basis basis{directory, engine_of(c).context().image_names.get(), c.req.version.minor,
                                now / 1'000'000'000};
  auto& cache = c.services_of_server->lists;
  if (const auto known = cache.find(basis, c.req.query_text)) co_return response::json(200, *known);
  model::list_options options;
  auto where = model::filters::parse(c.req.query.get("filters"));
  if (!where) co_return error_response(where.error());
  options.where = std::move(*where);
  options.all = c.req.query.flag("all");
  if (const auto& limit = c.req.query.get("limit"); !limit.empty()) {
    const auto number = go_atoi(limit);
    if (!number) co_return error_response(number.error());
    options.limit = *number;
  }
  std::vector<model::record_ptr> records;
  records.reserve(directory->by_id().size());
  for (const auto& [id, entry] : directory->by_id()) records.push_back(entry.record);
  std::map<std::string, std::string> images;
  if (options.where.contains("ancestor")) {
    auto found = co_await ancestors(c, options.where);
    if (!found) co_return error_response(found.error());
    images = std::move(*found);
  }
  model::list_lookups lookups;
  lookups.image_id = [&images](const std::string& name) {
    const auto found = images.find(name);
    return found == images.end() ? std::string() : found->second;
  };
  lookups.descends_from = [](const std::string& id, const std::string& ancestor) { return id == ancestor; };
  const auto selected = model::select_containers(std::move(records), options, lookups);
  if (!selected) co_return error_response(selected.error());

  const bool with_sizes = c.req.query.flag("size");
  std::string text = "[";
  for (const auto& record : *selected) {
    const auto& entry = directory->by_id().at(record->id);
    if (text.size() > 1) text += ',';
    if (text.size() == 1) text.reserve((entry.summary->size() + 64) * selected->size());
    model::summary_options shown{.version = c.req.version, .image_moved = image_moved(*record, *basis.images)};
    if (with_sizes) co_await add_sizes(c, entry.handle, shown);
    model::append_summary(text, *entry.summary, *record, now, shown);
  }
  text += "]\n";
  if (!with_sizes && !options.where.contains("ancestor"))
    cache.put(basis, c.req.query_text, std::make_shared<const std::string>(text));
  co_return response::json(200, std::move(text));
}

// From the directory as well; only `size` asks the container's actor, which measures its files.
awaitable<response> container_inspect(call& c) {
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  if (c.req.query.flag("size")) {
    inspect_container m;
    m.size = true;
    auto answer = co_await ask_with_deadline(c, found->handle, std::move(m));
    if (!answer) co_return error_response(answer.error());
    co_return response::json(200, model::inspect_for_version(std::move(answer->text), c.req.version));
  }
  model::inspect_extras extras;
  extras.data_root = engine_of(c).context().config.data_root;
  extras.exec_ids = engine_of(c).execs().of_container(found->record->id);
  co_return response::json(200, *found->inspect->text(*found->record, extras, c.req.version));
}

awaitable<response> container_top(call& c) {
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  top_container m;
  m.ps_args = c.req.query.get("ps_args");
  co_return document(co_await ask_with_deadline(c, found->handle, std::move(m)));
}

awaitable<response> container_stats(call& c) {
  if (c.req.query.flag_or("stream", true) && c.req.query.flag("one-shot") && c.req.query.has("stream"))
    co_return failed(errc::invalid_argument, "cannot have stream=true and one-shot=true");
  if (const auto found = container_named(c); !found) co_return error_response(found.error());
  co_return unsupported("resource usage (docker stats) is");
}

}  // namespace arca::http
