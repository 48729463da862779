// docker rmi. The rules, their order and their words are those of Docker Engine 28 with its own image store;
// transcripts images-tag-delete and images-prune show them.
#include <algorithm>

#include "actors/image/image_catalog.hpp"

namespace arca {
namespace {
// At most one tag, and all names in one repository.
bool single_reference(const std::vector<registry::reference>& names) {
  if (names.size() <= 1) return true;
  std::set<std::string> repositories_by_digest;
  const registry::reference* tagged = nullptr;
  for (const auto& n : names) {
    if (!n.digest().empty()) {
      repositories_by_digest.insert(n.name());
    } else if (tagged == nullptr) {
      tagged = &n;
    } else {
      return false;
    }
  }
  const auto& chosen = tagged == nullptr ? names.front() : *tagged;
  return repositories_by_digest.size() == 1 && repositories_by_digest.count(chosen.name()) == 1;
}
}  // namespace

void image_catalog::untag(const registry::reference& name, catalog_change& change, std::vector<removal_line>& lines) {
  row_change row;
  row.in = table::references;
  row.erase = true;
  row.key = name.string();
  change.rows.push_back(std::move(row));
  erase_name(name.string());
  lines.push_back({false, name.familiar()});
}

std::optional<error> image_catalog::conflict(const std::string& id, const removal_options& options, bool hard,
                                             bool stopped, bool referenced, bool& used) const {
  used = false;
  const auto text = [&](const char* force, const std::string& why) {
    return error(errc::conflict, "conflict: unable to delete " + short_id(id) + " (" + force + ") - " + why);
  };
  const auto user = [&](bool running) -> const std::string* {
    for (const auto& [owner, l] : leases_)
      if (l.image == id && (options.running.count(owner) != 0) == running) return &owner;
    return nullptr;
  };
  if (hard && !children_of(id).empty()) return text("cannot be forced", "image has dependent child images");
  if (const auto* owner = hard ? user(true) : nullptr) {
    used = true;
    return text("cannot be forced", "image is being used by running container " + short_id(*owner));
  }
  if (referenced && names_by_image_.count(id) != 0)
    return text("must be forced", "image is referenced in multiple repositories");
  if (const auto* owner = stopped ? user(false) : nullptr) {
    used = true;
    return text("must be forced", "image is being used by stopped container " + short_id(*owner));
  }
  return std::nullopt;
}

result<void> image_catalog::remove_image(const std::string& id, const removal_options& options, bool quiet,
                                         catalog_change& change, std::vector<removal_line>& lines) {
  bool used = false;
  if (auto why = conflict(id, options, true, !options.force, !options.force, used)) {
    // Untagging was what was asked; that the image itself stays is worth an error only for one that nobody uses.
    const bool dangling = names_by_image_.count(id) == 0 && children_of(id).empty();
    if (quiet && (!dangling || used)) return {};
    return fail(std::move(*why));
  }
  const auto record = by_id(id);
  if (record == nullptr) return {};
  for (const auto& name : names_of(id)) {
    untag(name, change, lines);
    change.events.push_back(event("untag", id, id));
  }
  row_change row;
  row.in = table::images;
  row.erase = true;
  row.key = id;
  change.rows.push_back(std::move(row));
  images_.erase(id);
  for (auto& [owner, l] : leases_) {
    if (l.image != id) continue;
    l.layers = record->chain_ids;
    change.rows.push_back(lease_row(owner, l));
  }
  change.frees_layers = true;
  change.events.push_back(event("delete", id, id));
  lines.push_back({true, id});
  const auto needed = used_layers();
  for (auto chain = record->chain_ids.rbegin(); chain != record->chain_ids.rend(); ++chain) {
    if (needed.count(*chain) != 0) continue;
    lines.push_back({true, *chain});
  }
  if (!options.prune_parents || record->parent.empty()) return {};
  removal_options parent = options;
  parent.force = false;
  return remove_image(record->parent, parent, true, change, lines);
}

result<catalog_change> image_catalog::remove(const std::string& text, const removal_options& options,
                                             std::vector<removal_line>& lines) {
  ARCA_TRY(image, find(text));
  const std::string id = image->id;
  catalog_change change;
  auto names = names_of(id);
  bool untagged = false;
  if (!is_id_prefix(id, text)) {
    if (!options.force && single_reference(names)) {
      const auto user =
          std::find_if(leases_.begin(), leases_.end(), [&](const auto& l) { return l.second.image == id; });
      if (user != leases_.end())
        return fail(errc::conflict, "conflict: unable to remove repository reference \"" + text +
                                        "\" (must force) - container " + short_id(user->first) +
                                        " is using its referenced image " + short_id(id));
    }
    ARCA_TRY(parsed, registry::reference::parse(text));
    const auto name = parsed.favor_digest().with_latest();
    untag(name, change, lines);
    change.events.push_back(event("untag", id, id));
    names = names_of(id);
    if (name.digest().empty()) {
      // With the last tag of a repository the digests it was pulled by go too.
      const auto same = [&](const registry::reference& n) { return n.name() == name.name(); };
      const bool tags_left =
          std::any_of(names.begin(), names.end(), [&](const auto& n) { return same(n) && n.digest().empty(); });
      if (!tags_left)
        for (const auto& n : names)
          if (same(n)) untag(n, change, lines);
      names = names_of(id);
    }
    if (!names.empty()) return change;
    untagged = true;
  } else if (single_reference(names)) {
    bool used = false;
    if (auto why = conflict(id, options, true, !options.force, false, used)) return fail(std::move(*why));
    for (const auto& name : names) {
      untag(name, change, lines);
      change.events.push_back(event("untag", id, id));
    }
  }
  ARCA_CHECK(remove_image(id, options, untagged, change, lines));
  return change;
}

}  // namespace arca
