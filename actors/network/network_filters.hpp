// The filters of GET /networks.
#pragma once
#include <optional>
#include <string_view>

#include "actors/model/filters.hpp"
#include "actors/network/network_record.hpp"

namespace arca {

class network_filters {
 public:
  /// errc::invalid_argument for what is no filter or names an unknown one, in Docker's words; errc::internal for a
  /// wrong `type`, as Docker does.
  static result<network_filters> parse(std::string_view text);
  bool match(const network_record& n, bool in_use) const;

 private:
  model::filters given_;
  std::optional<bool> dangling_;
};

}  // namespace arca
