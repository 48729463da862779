// image_manager's class: state and the order in which changes are made. What each message means is in
// image_manager.cpp, reading the disk at start in manager_start.cpp, load, import, save and pull in
// manager_arrivals.cpp.
#pragma once
#include <caf/typed_event_based_actor.hpp>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "actors/core/context.hpp"
#include "actors/image/image_catalog.hpp"
#include "actors/image/image_views.hpp"
#include "actors/image/internal.hpp"
#include "persistence/images/blob_store.hpp"

namespace arca {

/// What lies on disk, and what of it holds.
struct image_inventory {
  std::shared_ptr<images::layer_store> layers;
  std::shared_ptr<images::blob_store> blobs;
  std::vector<image_record> images;
};

class image_manager : public tracked<image_manager_internal::base> {
 public:
  image_manager(caf::actor_config& config, engine_context& ctx);
  behavior_type make_behavior() override;
  void on_exit() override;

 private:
  // ---- start (manager_start.cpp): rows, then the disk; requests wait meanwhile
  void load_rows_of(std::vector<table> tables, std::map<table, loaded_rows> loaded);
  void read_disk(std::map<table, loaded_rows> loaded);
  void take_up(image_inventory inventory, const std::map<table, loaded_rows>& loaded);

  // ---- look-ups
  caf::result<resolved_image> resolve(const resolve_image& q);
  layer_lookup layer_finder() const;

  // ---- changes: one after the other; memory first, then the rows, undone when these cannot be stored
  using change_function = std::function<result<catalog_change>()>;
  using change_end = std::function<void(result<void>)>;
  void change(change_function make, change_end end);
  void next_change();
  void commit_lease(std::vector<row_change> rows);
  void publish(const catalog_change& done);
  publish_event image_event(const std::string& action, const std::string& id, const std::string& name) const;

  caf::result<void> tag(const tag_image& q);
  caf::result<json_document> remove(const remove_image& q);
  caf::result<json_document> prune(const prune_images& q);
  caf::result<void> release(const release_image& q);
  caf::result<recorded_image> record(const record_pulled& q);
  caf::result<json_document> finish_pull(const pull_succeeded& q);

  // ---- what brings layers (manager_arrivals.cpp): nothing is removed from disk while any of it runs, and none begins
  // while something is being removed. A save only keeps what it reads: its client may take for ever
  void arrive(std::function<void()> begin);
  void arrival_ended();
  void make_durable();
  void sweep();
  caf::result<stream_id> pull(const pull_image& q);
  void join(const std::string& key, const pull_request& request, caf::typed_response_promise<stream_id> promise);
  caf::result<stream_id> load(const load_images& q);
  void record_loaded(std::vector<images::loaded_image> loaded, size_t at, std::shared_ptr<progress_output> output);
  result<catalog_change> loaded_change(const images::loaded_image& image, std::vector<std::string>& texts);
  caf::result<stream_id> import(const import_image& q);
  void record_imported(const images::loaded_image& image, const std::string& name,
                       caf::typed_response_promise<stream_id> promise);
  caf::result<stream_id> save(const save_images& q);
  void save_ended(const std::vector<std::string>& needed);
  result<std::vector<images::saved_image>> resolve_saved(const save_images& q, std::vector<std::string>& ids);
  std::optional<stream> take_input(stream_id id);

  struct pending_change {
    change_function make;
    change_end end;
  };

  engine_context& ctx_;
  image_catalog catalog_;
  std::shared_ptr<images::layer_store> layers_;
  std::shared_ptr<images::blob_store> blobs_;
  std::deque<pending_change> changes_;
  bool committing_ = false;
  std::map<std::string, image_pull_actor> pulls_;  // by name, platform and credentials
  std::map<caf::actor_addr, std::string> pull_keys_;
  std::deque<std::function<void()>> waiting_arrivals_;
  size_t arrivals_ = 0;
  std::deque<std::function<void()>> waiting_saves_;
  size_t saves_ = 0;
  std::multiset<std::string> saved_;  // layers and documents that saves read, once for each save
  bool sweeping_ = false, sweep_wanted_ = false, syncing_ = false, sync_wanted_ = false;
};

}  // namespace arca
