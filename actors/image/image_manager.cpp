#include "actors/image/image_manager.hpp"

#include <caf/actor_system.hpp>

#include "actors/core/promise.hpp"
#include "actors/image/manager_state.hpp"
#include "actors/streams/byte_channel.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
caf::result<json_document> document(result<std::string> text) {
  if (!text) return to_caf(text.error());
  json_document out;
  out.text = std::move(*text);
  return out;
}
}  // namespace

image_manager::image_manager(caf::actor_config& config, engine_context& ctx)
    : tracked(config, *ctx.actors, "/images", "image_manager"), ctx_(ctx) {}

image_manager::behavior_type image_manager::make_behavior() {
  set_exception_handler([](std::exception_ptr&) { return caf_error(errc::internal, "images failed unexpectedly"); });
  set_down_handler([this](caf::down_msg& down) {
    const auto key = pull_keys_.find(down.source);
    if (key == pull_keys_.end()) return;
    // The name may be pulled anew already.
    if (const auto pull = pulls_.find(key->second); pull != pulls_.end() && pull->second.address() == down.source)
      pulls_.erase(pull);
    pull_keys_.erase(key);
    arrival_ended();
  });
  load_rows_of({table::images, table::references, table::leases, table::containers}, {});
  return {
      [this](const resolve_image& q) { return resolve(q); },
      [this](const release_image& q) { return release(q); },
      [this](const list_images& q) { return document(list_view(catalog_, layer_finder(), q, now_nanos())); },
      [this](const inspect_image& q) -> caf::result<json_document> {
        if (q.manifests && !q.platform.empty())
          return caf_error(errc::invalid_argument,
                           "conflicting options: manifests and platform options cannot both be set");
        auto platform = read_platform_json(q.platform);
        if (!platform) return to_caf(platform.error());
        auto image = catalog_.find(q.reference, *platform);
        if (!image) return to_caf(image.error());
        return document(inspect_view(catalog_, layer_finder(), **image));
      },
      [this](const image_history& q) -> caf::result<json_document> {
        auto platform = read_platform_json(q.platform);
        if (!platform) return to_caf(platform.error());
        auto image = catalog_.find(q.reference, *platform);
        if (!image) return to_caf(image.error());
        return document(history_view(catalog_, layer_finder(), **image));
      },
      [this](const tag_image& q) { return tag(q); },
      [this](const remove_image& q) { return remove(q); },
      [this](const prune_images& q) { return prune(q); },
      [this](const pull_image& q) { return pull(q); },
      [this](const load_images& q) { return load(q); },
      [this](const import_image& q) { return import(q); },
      [this](const save_images& q) { return save(q); },
      [this](const count_images& q) {
        image_totals out;
        for (const auto& [id, image] : catalog_.images())
          if (!q.unused || catalog_.containers_of(id) == 0) ++out.images;
        return out;
      },
      [this](const find_pulled& q) {
        found_image out;
        const auto name = registry::reference::parse(q.name);
        const auto platform = read_platform(q.platform);
        if (!name || !platform) return out;
        const auto exact = name->trimmed().with_digest(q.digest);
        const auto image = exact ? catalog_.by_name(*exact) : nullptr;
        if (image != nullptr && (platform->empty() || images::matches(*platform, image->platform))) out.id = image->id;
        return out;
      },
      [this](const has_image& q) {
        found_image out;
        if (catalog_.by_id(q.id) != nullptr) out.id = q.id;
        return out;
      },
      [this](const record_pulled& q) { return record(q); },
      [this](const pull_succeeded& q) { return finish_pull(q); },
  };
}

void image_manager::on_exit() {
  for (auto& [key, handle] : pulls_) send_exit(handle, caf::exit_reason::user_shutdown);
  pulls_.clear();
  pull_keys_.clear();
  waiting_arrivals_.clear();
  waiting_saves_.clear();
  auto open = std::exchange(changes_, {});
  for (auto& c : open) c.end(fail(errc::unavailable, "the engine is stopping"));
}

layer_lookup image_manager::layer_finder() const {
  return [layers = layers_](const std::string& chain) { return layers->find(chain); };
}

caf::result<resolved_image> image_manager::resolve(const resolve_image& q) {
  auto platform = read_platform(q.platform);
  if (!platform) return to_caf(platform.error());
  auto image = catalog_.find(q.reference, *platform);
  if (!image) return to_caf(image.error());
  resolved_image out;
  out.id = (*image)->id;
  out.os = (*image)->platform.os;
  out.architecture = (*image)->platform.architecture;
  const auto& config = (*image)->config();
  out.config = config.is_object() ? config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) : "{}";
  const auto& chains = (*image)->chain_ids;
  for (auto chain = chains.rbegin(); chain != chains.rend(); ++chain) {
    const auto layer = layers_->find(*chain);
    if (!layer)
      return caf_error(errc::internal, "layer " + *chain + " of image " + (*image)->id + " is missing on disk");
    out.layers.push_back(layer->diff_dir);
  }
  if (!q.lease_owner.empty()) commit_lease({catalog_.put_lease(q.lease_owner, out.id)});
  return out;
}

caf::result<void> image_manager::release(const release_image& q) {
  auto done = catalog_.end_lease(q.lease_owner);
  if (!done.rows.empty()) commit_lease(std::move(done.rows));
  if (done.frees_layers) sweep();
  return caf::unit;
}

// Not waited for: the store commits in the order of its mailbox, so a lease is there before the row of its container
// is.
void image_manager::commit_lease(std::vector<row_change> rows) {
  commit_rows batch;
  batch.changes = std::move(rows);
  request(ctx_.store, caf::infinite, std::move(batch))
      .then([] {},
            [](caf::error& e) { log::error("image lease not stored", log::kv("error", from_caf(e).message())); });
}

void image_manager::change(change_function make, change_end end) {
  changes_.push_back({std::move(make), std::move(end)});
  if (!committing_) next_change();
}

void image_manager::next_change() {
  while (!committing_ && !changes_.empty()) {
    auto current = std::move(changes_.front());
    changes_.pop_front();
    const auto before = catalog_.save();
    auto made = current.make();
    if (!made) {
      catalog_.restore(*before);
      current.end(fail(made.error()));
      continue;
    }
    if (made->rows.empty()) {
      publish(*made);
      current.end({});
      continue;
    }
    committing_ = true;
    commit_rows batch;
    batch.changes = std::move(made->rows);
    batch.durable = true;
    auto shared = std::make_shared<pending_change>(std::move(current));
    request(ctx_.store, caf::infinite, std::move(batch))
        .then(
            [this, shared, done = std::move(*made)] {
              committing_ = false;
              publish(done);
              shared->end({});
              if (done.frees_layers || sweep_wanted_) sweep();
              next_change();
            },
            [this, shared, before](caf::error& e) {
              committing_ = false;
              catalog_.restore(*before);
              log::error("image change not stored", log::kv("error", from_caf(e).message()));
              shared->end(fail(from_caf(e)));
              next_change();
            });
  }
}

void image_manager::publish(const catalog_change& done) {
  ctx_.image_names.set(std::make_shared<const image_names>(catalog_.names()));
  for (const auto& e : done.events) send(ctx_.events, e);
}

publish_event image_manager::image_event(const std::string& action, const std::string& id,
                                         const std::string& name) const {
  publish_event e;
  e.type = "image";
  e.action = action;
  e.actor_id = id;
  if (auto image = catalog_.find(id)) e.attributes = (*image)->labels();
  e.attributes["name"] = name;
  e.time_nano = now_nanos();
  return e;
}

caf::result<void> image_manager::tag(const tag_image& q) {
  auto promise = make_response_promise<void>();
  if (q.repository.empty()) {  // Docker answers success and does nothing
    deliver_ok(promise);
    return promise;
  }
  change(
      [this, q]() -> result<catalog_change> {
        ARCA_TRY(name, image_catalog::target_name(q.repository, q.tag));
        if (name.familiar_name() == "sha256")
          return fail(errc::invalid_argument, "refusing to create an ambiguous tag using digest algorithm as name");
        return catalog_.tag(q.source, name, now_nanos());
      },
      [promise](result<void> done) mutable {
        if (done)
          deliver_ok(promise);
        else
          promise.deliver(to_caf(done.error()));
      });
  return promise;
}

caf::result<json_document> image_manager::remove(const remove_image& q) {
  auto promise = make_response_promise<json_document>();
  auto lines = std::make_shared<std::vector<removal_line>>();
  change(
      [this, q, lines]() -> result<catalog_change> {
        std::optional<error> misfit;
        for (const auto& text : q.platforms) {
          ARCA_TRY(platform, read_platform_json(text));
          const auto found = catalog_.find(q.reference, platform);
          if (found) {
            misfit.reset();
            break;
          }
          misfit = found.error();
        }
        if (misfit) return fail(*misfit);
        removal_options options;
        options.force = q.force;
        options.prune_parents = q.prune_parents;
        options.running.insert(q.running.begin(), q.running.end());
        return catalog_.remove(q.reference, options, *lines);
      },
      [promise, lines](result<void> done) mutable {
        if (!done) {
          promise.deliver(to_caf(done.error()));
          return;
        }
        json_document out;
        out.text = removal_view(*lines);
        promise.deliver(std::move(out));
      });
  return promise;
}

caf::result<json_document> image_manager::prune(const prune_images& q) {
  auto promise = make_response_promise<json_document>();
  auto lines = std::make_shared<std::vector<removal_line>>();
  auto freed = std::make_shared<uint64_t>(0);
  change(
      [this, q, lines, freed]() -> result<catalog_change> {
        bool dangling_only = true;
        ARCA_TRY(candidates, prune_candidates(catalog_, q.filters, now_nanos(), dangling_only));
        catalog_change all;
        const auto remove_one = [&](const std::string& reference) {
          std::vector<removal_line> found;
          const auto before = catalog_.save();
          auto one = catalog_.remove(reference, {}, found);
          if (!one) {  // in use, or gone with an image before it
            catalog_.restore(*before);
            return;
          }
          lines->insert(lines->end(), found.begin(), found.end());
          all.rows.insert(all.rows.end(), one->rows.begin(), one->rows.end());
          all.events.insert(all.events.end(), one->events.begin(), one->events.end());
          all.frees_layers = all.frees_layers || one->frees_layers;
        };
        for (const auto& id : candidates) {
          const auto names = catalog_.names_of(id);
          if (names.empty()) remove_one(id);
          for (const auto& name : names) remove_one(name.string());
        }
        for (const auto& line : *lines)
          if (const auto layer = line.deleted ? layers_->find(line.what) : std::nullopt) *freed += layer->size;
        publish_event e;
        e.type = "image";
        e.action = "prune";
        e.attributes["reclaimed"] = std::to_string(*freed);
        e.time_nano = now_nanos();
        all.events.push_back(std::move(e));
        return all;
      },
      [promise, lines, freed](result<void> done) mutable {
        if (!done) {
          promise.deliver(to_caf(done.error()));
          return;
        }
        json_document out;
        out.text = "{\"ImagesDeleted\":" + (lines->empty() ? "null" : removal_view(*lines)) +
                   ",\"SpaceReclaimed\":" + std::to_string(*freed) + "}";
        promise.deliver(std::move(out));
      });
  return promise;
}

caf::result<recorded_image> image_manager::record(const record_pulled& q) {
  auto promise = make_response_promise<recorded_image>();
  auto updated = std::make_shared<bool>(false);
  change(
      [this, q, updated]() -> result<catalog_change> {
        ARCA_TRY(name, registry::reference::parse(q.name));
        catalog_change all;
        if (!q.document.empty()) {
          ARCA_TRY(image, parse_image(q.id, q.document));
          image.manifest_digest = q.stored_manifest;
          all = catalog_.put(std::move(image));
        } else if (catalog_.by_id(q.id) == nullptr) {
          return fail(errc::gone, "image " + q.id + " was removed while it was pulled");
        }
        ARCA_TRY(named, catalog_.put_pulled(name, q.manifest_digest, q.id, *updated));
        all.rows.insert(all.rows.end(), named.rows.begin(), named.rows.end());
        return all;
      },
      [promise, updated](result<void> done) mutable {
        if (!done) {
          promise.deliver(to_caf(done.error()));
          return;
        }
        recorded_image out;
        out.updated = *updated;
        promise.deliver(out);
      });
  return promise;
}

caf::result<json_document> image_manager::finish_pull(const pull_succeeded& q) {
  json_document out;
  const auto name = registry::reference::parse(q.name);
  if (!name) return to_caf(name.error());
  send(ctx_.events, image_event("pull", name->familiar(), name->familiar_name()));
  const auto platform = read_platform(q.platform);
  if (q.platform.empty() || !platform) return out;
  if (const auto image = catalog_.find(name->string(), *platform); !image && catalog_.by_name(*name) != nullptr)
    out.text = image.error().message();
  return out;
}

image_manager_actor spawn_image_manager(caf::actor_system& system, engine_context& context) {
  return system.spawn<image_manager>(std::ref(context));
}

}  // namespace arca
