#include "actors/image/image_catalog.hpp"

#include <algorithm>

#include "persistence/base/text.hpp"
#include "persistence/images/layer_store.hpp"

namespace arca {
namespace {
error no_such_image(const std::string& text) {
  return {errc::not_found, "No such image: " + text};
}

/// "aarch64" and "arm64" are one: compare what parse_platform makes of both.
images::platform normal(const images::platform& p) {
  auto out = images::parse_platform(images::to_string(p));
  return out ? *out : p;
}
}  // namespace

std::string short_id(const std::string& id) {
  const auto hex = id.starts_with("sha256:") ? id.substr(7) : id;
  return hex.substr(0, 12);
}

bool is_id_prefix(const std::string& id, const std::string& text) {
  return id.starts_with(text) || id.substr(id.find(':') + 1).starts_with(text);
}

image_ptr image_catalog::by_id(const std::string& id) const {
  const auto found = images_.find(id);
  return found == images_.end() ? nullptr : found->second;
}

image_ptr image_catalog::by_name(const registry::reference& name) const {
  const auto found = names_.find(name.favor_digest().with_latest().string());
  return found == names_.end() ? nullptr : by_id(found->second.image);
}

result<image_ptr> image_catalog::find(const std::string& text) const {
  if (registry::is_identifier(text) || registry::parse_digest(text)) {
    const auto id = registry::is_identifier(text) ? "sha256:" + text : text;
    if (auto found = by_id(id)) return found;
    return arca::fail(no_such_image(id));
  }
  ARCA_TRY(name, registry::reference::parse(text));
  if (auto found = by_name(name)) return found;
  const auto prefix = text.starts_with("sha256:") ? text : "sha256:" + text;
  const auto first = images_.lower_bound(prefix);
  if (first != images_.end() && first->first.starts_with(prefix)) {
    const auto second = std::next(first);
    if (second == images_.end() || !second->first.starts_with(prefix)) return first->second;
  }
  return arca::fail(no_such_image(name.with_latest().familiar()));
}

result<image_ptr> image_catalog::find(const std::string& reference, const images::platform& wanted) const {
  ARCA_TRY(found, find(reference));
  if (wanted.empty() || images::matches(normal(wanted), normal(found->platform))) return found;
  return fail(errc::not_found, "image with reference " + reference + " was found but its platform (" +
                                   images::to_string(found->platform) + ") does not match the specified platform (" +
                                   images::to_string(wanted) + ")");
}

std::vector<registry::reference> image_catalog::names_of(const std::string& id) const {
  std::vector<registry::reference> out;
  const auto found = names_by_image_.find(id);
  if (found == names_by_image_.end()) return out;
  for (const auto& key : found->second) out.push_back(names_.at(key).name);
  return out;
}

image_names image_catalog::names() const {
  image_names all;
  for (const auto& [name, entry] : names_) all.emplace_hint(all.end(), name, entry.image);
  return all;
}

std::vector<std::string> image_catalog::children_of(const std::string& id) const {
  std::vector<std::string> out;
  for (const auto& [child, record] : images_)
    if (record->parent == id) out.push_back(child);
  return out;
}

row_change image_catalog::lease_row(const std::string& owner, const lease& l) {
  row_change row;
  row.in = table::leases;
  row.key = owner;
  nlohmann::json document = {{"image", l.image}};
  if (!l.layers.empty()) document["layers"] = l.layers;
  row.document = document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return row;
}

row_change image_catalog::put_lease(const std::string& owner, const std::string& image) {
  auto& l = leases_[owner];
  l = lease{image, {}};
  return lease_row(owner, l);
}

catalog_change image_catalog::end_lease(const std::string& owner) {
  catalog_change change;
  const auto found = leases_.find(owner);
  if (found == leases_.end()) return change;
  change.frees_layers = !found->second.layers.empty();
  leases_.erase(found);
  row_change row;
  row.in = table::leases;
  row.erase = true;
  row.key = owner;
  change.rows.push_back(std::move(row));
  return change;
}

int64_t image_catalog::containers_of(const std::string& id) const {
  return std::count_if(leases_.begin(), leases_.end(), [&](const auto& l) { return l.second.image == id; });
}

std::set<std::string> image_catalog::used_layers() const {
  std::set<std::string> out;
  for (const auto& [id, record] : images_) out.insert(record->chain_ids.begin(), record->chain_ids.end());
  for (const auto& [owner, l] : leases_) out.insert(l.layers.begin(), l.layers.end());
  return out;
}

row_change image_catalog::name_row(const registry::reference& name, const std::string& id) {
  row_change row;
  row.in = table::references;
  row.key = name.string();
  row.document = nlohmann::json{{"image", id}}.dump();
  return row;
}

void image_catalog::erase_name(const std::string& key) {
  const auto found = names_.find(key);
  if (found == names_.end()) return;
  auto& names = names_by_image_[found->second.image];
  names.erase(key);
  if (names.empty()) names_by_image_.erase(found->second.image);
  names_.erase(found);
}

void image_catalog::set_name(const registry::reference& name, const std::string& id) {
  const auto key = name.string();
  erase_name(key);
  names_by_image_[id].insert(key);
  names_.emplace(key, name_entry{name, id});
}

publish_event image_catalog::event(const std::string& action, const std::string& id, std::string name) const {
  publish_event e;
  e.type = "image";
  e.action = action;
  e.actor_id = id;
  if (const auto record = by_id(id)) e.attributes = record->labels();
  e.attributes["name"] = std::move(name);
  e.time_nano = now_nanos();
  return e;
}

void image_catalog::load_image(image_record record) {
  auto id = record.id;
  images_[id] = std::make_shared<const image_record>(std::move(record));
}

catalog_change image_catalog::put(image_record record) {
  catalog_change change;
  if (const auto known = by_id(record.id)) {
    if (!known->manifest_digest.empty() || record.manifest_digest.empty()) return change;
    auto merged = *known;
    merged.manifest_digest = record.manifest_digest;
    record = std::move(merged);
  }
  change.rows.push_back(image_row(record));
  load_image(std::move(record));
  return change;
}

result<catalog_change> image_catalog::put_pulled(const registry::reference& name, const std::string& manifest_digest,
                                                 const std::string& id, bool& updated) {
  catalog_change change;
  const auto put_name = [&](const registry::reference& n) {
    change.rows.push_back(name_row(n, id));
    set_name(n, id);
  };
  const bool by_digest = !name.digest().empty();
  const auto current = names_.find(name.favor_digest().string());
  updated = current == names_.end() || current->second.image != id;
  if (by_digest) {
    if (!updated) return change;
    if (current != names_.end()) return fail(errc::conflict, "Cannot overwrite digest " + name.digest());
    put_name(name.favor_digest());
    return change;
  }
  // The digest that this tag was pulled by. A digest that names another image (another platform of one index) stays.
  ARCA_TRY(digest_name, name.trimmed().with_digest(manifest_digest));
  if (names_.find(digest_name.string()) == names_.end()) put_name(digest_name);
  if (updated) put_name(name);
  return change;
}

catalog_change image_catalog::name_image(const registry::reference& name, const std::string& id) {
  catalog_change change;
  change.rows.push_back(name_row(name, id));
  set_name(name, id);
  return change;
}

result<registry::reference> image_catalog::target_name(const std::string& repository, const std::string& tag) {
  ARCA_TRY(name, registry::reference::parse(repository));
  if (!name.digest().empty()) return fail(errc::invalid_argument, "cannot import digest reference");
  if (!tag.empty()) {
    ARCA_TRY(tagged, name.with_tag(tag));
    return tagged;
  }
  return name.with_latest();
}

result<catalog_change> image_catalog::tag(const std::string& source, const registry::reference& name, int64_t now) {
  ARCA_TRY(found, find(source));
  auto record = *found;
  record.last_tagged = now;
  auto change = name_image(name, record.id);
  change.rows.push_back(image_row(record));
  load_image(record);
  change.events.push_back(event("tag", record.id, name.familiar()));
  return change;
}

std::shared_ptr<const image_catalog::snapshot> image_catalog::save() const {
  return std::make_shared<const snapshot>(snapshot{images_, names_, names_by_image_});
}

void image_catalog::restore(const snapshot& s) {
  images_ = s.images;
  names_ = s.names;
  names_by_image_ = s.names_by_image;
}

}  // namespace arca
