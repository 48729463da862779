// What image_manager does before it answers: rows from the store, then documents and layers from the disk. What does
// not fit together is set aside with a log line, never a reason not to start.
#include <unordered_set>

#include "actors/image/manager_state.hpp"
#include "persistence/base/log.hpp"

namespace arca {
namespace {
result<image_record> read_image(const image_inventory& disk, const stored_row& row) {
  ARCA_TRY(text, disk.blobs->get(row.key));
  ARCA_TRY(record, parse_image(row.key, text));
  ARCA_CHECK(apply_image_row(record, row.document));
  for (const auto& chain : record.chain_ids)
    if (!disk.layers->find(chain)) return fail(errc::not_found, "layer " + chain + " is missing on disk");
  return record;
}

result<image_inventory> read_inventory(const std::string& data_root, const loaded_rows& rows) {
  image_inventory out;
  ARCA_TRY(layers, images::layer_store::open(data_root + "/layers"));
  out.layers = std::move(layers);
  ARCA_TRY(blobs, images::blob_store::open(data_root + "/blobs"));
  out.blobs = std::make_shared<images::blob_store>(std::move(blobs));
  for (const auto& row : rows.rows) {
    auto record = read_image(out, row);
    if (record)
      out.images.push_back(std::move(*record));
    else
      log::error("image set aside", log::kv("image", row.key), log::kv("reason", record.error().message()));
  }
  return out;
}

std::string image_of(const nlohmann::json& document) {
  const auto found = document.is_object() ? document.find("image") : document.end();
  return document.is_object() && found != document.end() && found->is_string() ? found->get<std::string>()
                                                                               : std::string();
}
}  // namespace

void image_manager::load_rows_of(std::vector<table> tables, std::map<table, loaded_rows> loaded) {
  if (tables.empty()) {
    read_disk(std::move(loaded));
    return;
  }
  load_rows load;
  load.from = tables.front();
  request(ctx_.store, caf::infinite, load)
      .await(
          [this, tables, loaded](const loaded_rows& rows) mutable {
            loaded[tables.front()] = rows;
            tables.erase(tables.begin());
            load_rows_of(std::move(tables), std::move(loaded));
          },
          [this](caf::error& e) { quit(e); });
}

// On the pool, like offload; but nothing else is served before.
void image_manager::read_disk(std::map<table, loaded_rows> loaded) {
  auto found = std::make_shared<result<image_inventory>>();
  async_request work;
  work.start = std::make_shared<async_start>([pool = ctx_.pool.get(), found, root = ctx_.config.data_root,
                                              rows = loaded[table::images]](std::function<void()> done) {
    pool->post([found, root, rows, done = std::move(done)] {
      *found = read_inventory(root, rows);
      done();
    });
  });
  request(ctx_.port->handle(), caf::infinite, std::move(work))
      .await(
          [this, found, loaded = std::move(loaded)](const async_done&) {
            if (*found) {
              take_up(std::move(**found), loaded);
            } else {
              log::error("images cannot be read", log::kv("error", found->error().message()));
              quit(to_caf(found->error()));
            }
          },
          [this](caf::error& e) { quit(e); });
}

void image_manager::take_up(image_inventory inventory, const std::map<table, loaded_rows>& loaded) {
  layers_ = std::move(inventory.layers);
  blobs_ = std::move(inventory.blobs);
  for (auto& record : inventory.images) catalog_.load_image(std::move(record));
  for (const auto& row : loaded.at(table::references).rows) {
    const auto name = registry::reference::parse(row.key);
    const auto id = image_of(nlohmann::json::parse(row.document, nullptr, false));
    if (name && catalog_.by_id(id) != nullptr)
      catalog_.load_name(*name, id);
    else
      log::warn("image name set aside", log::kv("name", row.key), log::kv("image", id));
  }
  publish({});
  std::unordered_set<std::string> containers;
  for (const auto& row : loaded.at(table::containers).rows) containers.insert(row.key);
  std::vector<row_change> stale;
  for (const auto& row : loaded.at(table::leases).rows) {
    if (containers.count(row.key) == 0) {  // of a create that did not come to its end
      row_change erase;
      erase.in = table::leases;
      erase.erase = true;
      erase.key = row.key;
      stale.push_back(std::move(erase));
      continue;
    }
    const auto document = nlohmann::json::parse(row.document, nullptr, false);
    image_catalog::lease l;
    l.image = image_of(document);
    if (document.is_object() && document.contains("layers") && document["layers"].is_array())
      for (const auto& chain : document["layers"])
        if (chain.is_string()) l.layers.push_back(chain.get<std::string>());
    catalog_.load_lease(row.key, std::move(l));
  }
  if (!stale.empty()) commit_lease(std::move(stale));
  sweep();
}

}  // namespace arca
