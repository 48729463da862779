// What Docker's clients see of images: the JSON of list, inspect, history and removal.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/image/image_catalog.hpp"
#include "actors/protocol/image.hpp"
#include "persistence/images/layer_store.hpp"

namespace arca {

/// layer_store::find.
using layer_lookup = std::function<std::optional<images::layer_info>(const std::string& chain_id)>;

/// GET /images/json of API 1.51. Checks the filters.
result<std::string> list_view(const image_catalog& catalog, const layer_lookup& layers, const list_images& query,
                              int64_t now);
/// GET /images/NAME/json of API 1.51.
std::string inspect_view(const image_catalog& catalog, const layer_lookup& layers, const image_record& image);
/// GET /images/NAME/history. errc::internal "too many non-empty layers in History section".
result<std::string> history_view(const image_catalog& catalog, const layer_lookup& layers, const image_record& image);
/// The list that DELETE /images/NAME answers.
std::string removal_view(const std::vector<removal_line>& lines);

/// The `platform` of create, pull and import: empty, or "linux/arm64/v8".
result<images::platform> read_platform(const std::string& text);
/// The `platform` of inspect, history, load and save: empty, or Docker's JSON {"os": …, "architecture": …}.
/// errc::invalid_argument in Docker's words.
result<images::platform> read_platform_json(const std::string& text);

/// The images that prune looks at, in Docker's sense of `filters`; `dangling_only` as they say.
result<std::vector<std::string>> prune_candidates(const image_catalog& catalog, const std::string& filters, int64_t now,
                                                  bool& dangling_only);

}  // namespace arca
