#include "actors/network/network_filters.hpp"

namespace arca {

result<network_filters> network_filters::parse(std::string_view text) {
  static constexpr std::string_view accepted[] = {"dangling", "driver", "id", "label", "name", "scope", "type"};
  network_filters f;
  ARCA_TRY(given, model::filters::parse(text));
  f.given_ = std::move(given);
  ARCA_CHECK(f.given_.validate(accepted));
  if (f.given_.contains("dangling")) {
    const auto& values = f.given_.get("dangling");
    const std::string value = values.size() == 1 ? *values.begin() : "";
    if (value == "true" || value == "1")
      f.dangling_ = true;
    else if (value == "false" || value == "0")
      f.dangling_ = false;
    else
      return fail(errc::invalid_argument,
                  "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")");
  }
  for (const auto& type : f.given_.get("type"))
    if (type != "custom" && type != "builtin") return fail(errc::internal, "invalid filter: 'type'='" + type + "'");
  return f;
}

bool network_filters::match(const network_record& n, bool in_use) const {
  if (dangling_ && *dangling_ != (!n.builtin() && !in_use)) return false;
  if (given_.contains("type") && given_.get("type").count(n.builtin() ? "builtin" : "custom") == 0) return false;
  return given_.exact_match("driver", n.driver) && given_.match("name", n.name) && given_.match("id", n.id) &&
         given_.exact_match("scope", "local") && given_.match_kv("label", n.labels);
}

}  // namespace arca
