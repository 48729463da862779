// The filters of GET /volumes and POST /volumes/prune.
#pragma once
#include <optional>
#include <string_view>

#include "actors/model/filters.hpp"
#include "actors/volume/volume_record.hpp"

namespace arca {

class volume_filters {
 public:
  /// errc::invalid_argument in Docker's words.
  static result<volume_filters> for_list(std::string_view text);
  static result<volume_filters> for_prune(std::string_view text);
  bool match(const volume_record& v) const;

 private:
  model::filters given_;
  std::optional<bool> dangling_;
  bool anonymous_only_ = false;
};

}  // namespace arca
