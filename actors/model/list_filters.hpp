// Which containers GET /containers/json and POST /containers/prune mean.
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
  bool all = false;
  int64_t limit = 0;  ///< above 0: that many of the newest, whatever their state
  filters where;
};

/// What list filters ask of the engine.
struct list_lookups {
  /// Id of a reference's image; "" when there is none such (ancestor).
  std::function<std::string(const std::string&)> image_id;
  /// Whether image `id` is `ancestor` or was built on it.
  std::function<bool(const std::string& id, const std::string& ancestor)> descends_from;
};

/// The records that are shown, newest first. Refuses in Docker's words: "invalid filter 'x'", "invalid filter
/// 'status=x': …", errc::not_found for an unknown before or since, errc::internal (500) for a port that is none.
result<std::vector<record_ptr>> select_containers(std::vector<record_ptr> all, const list_options& options,
                                                  const list_lookups& lookups);

/// Accepted filters of prune: until, label, label!.
result<void> check_prune_filters(const filters& f);
/// A stopped container that the (checked) filters select.
bool prune_matches(const container_record& r, const filters& f, int64_t now_nanos);

}  // namespace arca::model
