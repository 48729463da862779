// Which images there are, what they are called and who uses them: maps in memory and Docker's rules over them. Pure:
// what a change means for the rows, the events and the layers on disk is handed to the caller (image_manager).
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/core/image_names.hpp"
#include "actors/image/image_record.hpp"
#include "actors/protocol/event_bus.hpp"
#include "persistence/registry/reference.hpp"

namespace arca {

/// What must follow a change of the catalog.
struct catalog_change {
  std::vector<row_change> rows;
  std::vector<publish_event> events;
  bool frees_layers = false;  ///< there may be layers now that nobody uses
};

/// One line of the answer to DELETE /images: {"Untagged": …} or {"Deleted": …}.
struct removal_line {
  bool deleted = false;
  std::string what;
};

struct removal_options {
  bool force = false, prune_parents = true;
  std::set<std::string> running;  ///< containers that run now; the other lease owners are stopped
};

class image_catalog {
 public:
  // ---- look up
  /// Docker's GetImage: a name, a full id, or a unique prefix of one. errc::not_found "No such image: NAME:latest",
  /// errc::invalid_argument for what is no reference.
  result<image_ptr> find(const std::string& reference) const;
  /// The same, and the image must serve `wanted` (empty: any): errc::not_found "image with reference X was found but
  /// its platform (linux/amd64) does not match the specified platform (linux/arm64)".
  result<image_ptr> find(const std::string& reference, const images::platform& wanted) const;
  image_ptr by_id(const std::string& id) const;
  /// The image that this very name refers to now; null if none.
  image_ptr by_name(const registry::reference& name) const;
  const std::map<std::string, image_ptr>& images() const noexcept { return images_; }
  /// All names of an image, sorted.
  std::vector<registry::reference> names_of(const std::string& id) const;
  /// Every name, for everybody to read.
  image_names names() const;
  std::vector<std::string> children_of(const std::string& id) const;

  // ---- leases (image, container)
  struct lease {
    std::string image;
    std::vector<std::string> layers;  ///< chain ids, once the image itself was deleted by force: they stay on disk
  };
  row_change put_lease(const std::string& owner, const std::string& image);
  catalog_change end_lease(const std::string& owner);
  void load_lease(const std::string& owner, lease l) { leases_[owner] = std::move(l); }
  const std::map<std::string, lease>& leases() const noexcept { return leases_; }
  int64_t containers_of(const std::string& id) const;
  /// Chain ids that an image or a lease needs.
  std::set<std::string> used_layers() const;

  // ---- change
  /// An image that arrived (pull, load, import) without touching names; an image that is known keeps what is known.
  catalog_change put(image_record record);
  /// A pulled tag or digest reference: names the image, records the manifest's digest beside it. False in `updated`
  /// when the name was already this image. errc::conflict "Cannot overwrite digest sha256:…".
  result<catalog_change> put_pulled(const registry::reference& name, const std::string& manifest_digest,
                                    const std::string& id, bool& updated);
  /// docker load and import: the name now refers to the image; no event.
  catalog_change name_image(const registry::reference& name, const std::string& id);
  /// docker tag: event, LastTagTime.
  result<catalog_change> tag(const std::string& source, const registry::reference& name, int64_t now);
  /// The name a tag request means: "repository" and "tag". errc::invalid_argument in Docker's words.
  static result<registry::reference> target_name(const std::string& repository, const std::string& tag);

  /// Docker's rules for rmi, its conflict texts and its order of lines.
  result<catalog_change> remove(const std::string& reference, const removal_options& options,
                                std::vector<removal_line>& lines);

  /// At start only.
  void load_image(image_record record);
  void load_name(const registry::reference& name, const std::string& id) { set_name(name, id); }

  // ---- undo: the state before a change whose rows could not be stored (leases are not part of it)
  struct snapshot;
  std::shared_ptr<const snapshot> save() const;
  void restore(const snapshot& s);

 private:
  struct name_entry {
    registry::reference name;
    std::string image;
  };
  void set_name(const registry::reference& name, const std::string& id);
  void erase_name(const std::string& key);
  publish_event event(const std::string& action, const std::string& id, std::string name) const;
  static row_change name_row(const registry::reference& name, const std::string& id);
  static row_change lease_row(const std::string& owner, const lease& l);
  void untag(const registry::reference& name, catalog_change& change, std::vector<removal_line>& lines);
  std::optional<error> conflict(const std::string& id, const removal_options& options, bool hard, bool stopped,
                                bool referenced, bool& used) const;
  result<void> remove_image(const std::string& id, const removal_options& options, bool quiet, catalog_change& change,
                            std::vector<removal_line>& lines);

  std::map<std::string, image_ptr> images_;                      // by id
  std::map<std::string, name_entry> names_;                      // by full name
  std::map<std::string, std::set<std::string>> names_by_image_;  // full names
  std::map<std::string, lease> leases_;                          // by owner
};

struct image_catalog::snapshot {
  std::map<std::string, image_ptr> images;
  std::map<std::string, name_entry> names;
  std::map<std::string, std::set<std::string>> names_by_image;
};

/// The 12 digits that Docker shows of an id.
std::string short_id(const std::string& id);
/// Does a text begin an image id, with or without "sha256:"?
bool is_id_prefix(const std::string& id, const std::string& text);

}  // namespace arca
