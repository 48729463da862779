#include "actors/volume/volume_filters.hpp"

#include "persistence/base/text.hpp"

namespace arca {
namespace {
// Go's strconv.ParseBool.
std::optional<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return std::nullopt;
}
}  // namespace

result<volume_filters> volume_filters::for_list(std::string_view text) {
  static constexpr std::string_view accepted[] = {"dangling", "driver", "label", "name"};
  volume_filters f;
  auto given = model::filters::parse(text);
  if (!given) return fail(given.error().wrap("error reading volume filters"));
  f.given_ = std::move(*given);
  ARCA_CHECK(f.given_.validate(accepted));
  if (f.given_.contains("dangling")) {
    ARCA_TRY(dangling, f.given_.get_bool("dangling", false));
    f.dangling_ = dangling;
  }
  return f;
}

result<volume_filters> volume_filters::for_prune(std::string_view text) {
  static constexpr std::string_view accepted[] = {"all", "label", "label!"};
  volume_filters f;
  ARCA_TRY(given, model::filters::parse(text));
  f.given_ = std::move(given);
  ARCA_CHECK(f.given_.validate(accepted));
  f.dangling_ = true;
  f.anonymous_only_ = true;
  if (f.given_.contains("all")) {
    const auto& values = f.given_.get("all");
    if (values.size() > 1) return fail(errc::invalid_argument, "invalid filter 'all': only one value is expected");
    const std::string value = values.empty() ? "" : *values.begin();
    const auto all = parse_bool(value);
    if (!all)
      return fail(errc::invalid_argument,
                  "invalid filter 'all': strconv.ParseBool: parsing " + go_quote(value) + ": invalid syntax");
    f.anonymous_only_ = !*all;
  }
  return f;
}

bool volume_filters::match(const volume_record& v) const {
  if (dangling_ && *dangling_ != v.users.empty()) return false;
  const auto labels = v.labels.value_or(string_map{});
  if (anonymous_only_ && labels.count(anonymous_label) == 0) return false;
  return given_.exact_match("driver", "local") && given_.match("name", v.name) && model::labels_match(given_, labels);
}

}  // namespace arca
