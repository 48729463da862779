// Which containers GET /containers/json and prune show.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/model/filters.hpp"

namespace arca::model {

using record_ptr = std::shared_ptr<const container_record>;

struct list_options {
  bool all = false, size = false;
  int64_t limit = 0;  ///< 0: no limit; negative as Docker treats it
  filters where;
};

/// What list filters ask of the engine.
struct list_lookups {
  /// Container by id, name or prefix, null: none (before, since).
  std::function<record_ptr(const std::string&)> container;
  /// Image id of a reference; "" when there is none such (ancestor).
  std::function<std::string(const std::string&)> image_id;
  /// Whether image `id` is `ancestor` or was built on it.
  std::function<bool(const std::string& id, const std::string& ancestor)> descends_from;
};

/// Filter keys accepted and values checked: "invalid filter 'x'", "invalid filter 'status=x'", health, exited, is-task …
result<void> check_list_filters(const list_options& options);

/// The records that are shown, newest first. Checks filters first.
result<std::vector<record_ptr>> select_containers(const std::vector<record_ptr>& all, const list_options& options,
                                                  const list_lookups& lookups);

/// POST /containers/prune: accepted filters until, label, label!=.
result<void> check_prune_filters(const filters& f);
bool prune_matches(const container_record& r, const filters& f, int64_t now_nanos);

}  // namespace arca::model
