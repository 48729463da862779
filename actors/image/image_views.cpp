#include "actors/image/image_views.hpp"

#include <algorithm>
#include <array>
#include <climits>

#include "actors/image/path_match.hpp"
#include "actors/model/filters.hpp"
#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "actors/model/timestamp.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using json = nlohmann::json;

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

int64_t size_of(const image_record& image, const layer_lookup& layers) {
  uint64_t total = 0;
  for (const auto& chain : image.chain_ids)
    if (const auto info = layers(chain)) total += info->size;
  return static_cast<int64_t>(total);
}

int64_t unix_seconds(int64_t nanos) {
  const int64_t second = 1'000'000'000;
  return nanos / second - (nanos % second < 0 ? 1 : 0);
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// The config object with every field that Docker shows and none that an image's config has no business with.
json config_view(const json& given) {
  json out = {{"User", ""}, {"WorkingDir", ""}};
  for (const char* key : {"Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"}) out[key] = nullptr;
  if (!given.is_object()) return out;
  for (const auto& [key, value] : out.items())
    if (const auto found = given.find(key); found != given.end() && !found->is_null()) value = *found;
  for (const char* key : {"ExposedPorts", "Healthcheck", "StopSignal", "Shell", "ArgsEscaped"})
    if (const auto found = given.find(key);
        found != given.end() && !found->is_null() && *found != json("") && *found != json(false) &&
        !(found->is_array() && found->empty()) &&
        !(found->is_object() && found->empty() && key != std::string("Healthcheck")))
      out[key] = *found;
  return out;
}

std::string created_view(const image_record& image) {
  if (image.has_created && ends_with(image.created_text, "Z")) return rfc3339_nano(image.created);
  return image.created_text;
}

// Where an overlay driver would show the parts of the topmost layer.
json driver_view(const image_record& image, const layer_lookup& layers) {
  json data;
  std::string lower;
  for (auto chain = image.chain_ids.rbegin(); chain != image.chain_ids.rend(); ++chain) {
    const auto info = layers(*chain);
    if (!info) continue;
    if (chain == image.chain_ids.rbegin()) {
      const auto folder = info->diff_dir.substr(0, info->diff_dir.rfind('/'));
      data = {{"UpperDir", info->diff_dir}, {"MergedDir", folder + "/merged"}, {"WorkDir", folder + "/work"}};
    } else {
      lower += (lower.empty() ? "" : ":") + info->diff_dir;
    }
  }
  if (!lower.empty()) data["LowerDir"] = lower;
  return {{"Name", "overlay2"}, {"Data", data}};
}

constexpr std::array<std::string_view, 6> list_filters = {"dangling", "label", "before", "since", "reference", "until"};
constexpr std::array<std::string_view, 4> prune_filters = {"dangling", "label", "label!", "until"};

// A time in an image filter that is none is answered with 500 by Docker.
result<int64_t> until_time(const std::string& text, int64_t now) {
  auto t = model::parse_time_or_duration(text, now);
  if (!t) return fail(errc::internal, t.error().message());
  return *t;
}

struct bounds {
  int64_t before = INT64_MAX, after = INT64_MIN;
  bool any_before = false, any_after = false;
  bool hold(const image_record& image) const {
    if ((any_before || any_after) && !image.has_created) return false;
    return !(any_before && image.created >= before) && !(any_after && image.created <= after);
  }
};

result<bounds> read_bounds(const image_catalog& catalog, const model::filters& f, int64_t now) {
  bounds out;
  for (const auto& name : f.get("before")) {
    ARCA_TRY(image, catalog.find(name));
    if (!image->has_created) continue;
    out.before = std::min(out.before, image->created);
    out.any_before = true;
  }
  for (const auto& text : f.get("until")) {
    ARCA_TRY(t, until_time(text, now));
    out.before = std::min(out.before, t);
    out.any_before = true;
  }
  for (const auto& name : f.get("since")) {
    ARCA_TRY(image, catalog.find(name));
    if (!image->has_created) continue;
    out.after = std::max(out.after, image->created);
    out.any_after = true;
  }
  return out;
}

result<bool> matches_reference(const std::set<std::string>& patterns, const registry::reference& name) {
  for (const auto& pattern : patterns) {
    ARCA_TRY(whole, path_match(pattern, name.familiar()));
    if (whole) return true;
    if (auto bare = path_match(pattern, name.familiar_name()); bare && *bare) return true;
  }
  return false;
}

json summary_view(const image_catalog& catalog, const layer_lookup& layers, const image_record& image) {
  const auto labels = image.config().is_object() ? image.config().value("Labels", json()) : json();
  return {{"Id", image.id},
          {"ParentId", image.parent},
          {"RepoTags", json::array()},
          {"RepoDigests", json::array()},
          {"Created", image.has_created ? unix_seconds(image.created) : 0},
          {"Size", size_of(image, layers)},
          {"SharedSize", -1},
          {"Labels", labels},
          {"Containers", catalog.containers_of(image.id)}};
}
}  // namespace

result<images::platform> read_platform(const std::string& text) {
  return text.empty() ? images::platform{} : images::parse_platform(text);
}

result<images::platform> read_platform_json(const std::string& text) {
  images::platform out;
  if (text.empty()) return out;
  const auto document = model::go::unmarshal(text, model::go::platform);
  if (!document) return fail(document.error().wrap("failed to parse platform"));
  out.os = text_of(*document, "os");
  out.architecture = text_of(*document, "architecture");
  out.variant = text_of(*document, "variant");
  if (out.os.empty() || out.architecture.empty())
    return fail(errc::invalid_argument, "both OS and Architecture must be provided");
  return out;
}

result<std::string> list_view(const image_catalog& catalog, const layer_lookup& layers, const list_images& query,
                              int64_t now) {
  ARCA_TRY(f, model::filters::parse(query.filters));
  ARCA_CHECK(f.validate(list_filters));
  ARCA_TRY(dangling_only, f.get_bool("dangling", false));
  ARCA_TRY(limits, read_bounds(catalog, f, now));
  std::map<std::string, int> layer_users;
  if (query.shared_size)
    for (const auto& [id, image] : catalog.images())
      for (const auto& chain : image->chain_ids) ++layer_users[chain];

  std::vector<std::pair<const image_record*, json>> rows;
  for (const auto& [id, image] : catalog.images()) {
    const bool head = catalog.children_of(id).empty();
    if ((dangling_only && !head) || !limits.hold(*image)) continue;
    if (f.contains("label") && !f.match_kv("label", image->labels())) continue;
    auto row = summary_view(catalog, layers, *image);
    for (const auto& name : catalog.names_of(id)) {
      if (f.contains("reference")) {
        ARCA_TRY(shown, matches_reference(f.get("reference"), name));
        if (!shown) continue;
      }
      row[name.digest().empty() ? "RepoTags" : "RepoDigests"].push_back(name.familiar());
    }
    if (row["RepoTags"].empty() && row["RepoDigests"].empty()) {
      if (!query.all && !head) continue;
      if ((f.contains("dangling") && !dangling_only) || f.contains("reference")) continue;
    } else if (dangling_only && !row["RepoTags"].empty()) {
      continue;
    }
    if (query.shared_size) {
      uint64_t shared = 0;
      for (const auto& chain : image->chain_ids)
        if (const auto info = layer_users[chain] > 1 ? layers(chain) : std::nullopt) shared += info->size;
      row["SharedSize"] = shared;
    }
    rows.emplace_back(image.get(), std::move(row));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return unix_seconds(a.first->created) > unix_seconds(b.first->created);
  });
  json out = json::array();
  for (auto& [image, row] : rows) out.push_back(std::move(row));
  return dump(out);
}

std::string inspect_view(const image_catalog& catalog, const layer_lookup& layers, const image_record& image) {
  json tags = json::array(), digests = json::array();
  for (const auto& name : catalog.names_of(image.id))
    (name.digest().empty() ? tags : digests).push_back(name.familiar());
  auto comment = text_of(image.document, "comment");
  if (comment.empty())
    if (const auto history = image.document.find("history");
        history != image.document.end() && history->is_array() && !history->empty())
      comment = text_of(history->back(), "comment");
  json rootfs = {{"Type", "layers"}};
  if (!image.diff_ids.empty()) rootfs["Layers"] = image.diff_ids;
  json out = {{"Id", image.id},
              {"RepoTags", tags},
              {"RepoDigests", digests},
              {"Parent", image.parent},
              {"Comment", comment},
              {"Created", created_view(image)},
              {"DockerVersion", text_of(image.document, "docker_version")},
              {"Author", text_of(image.document, "author")},
              {"Config", config_view(image.config())},
              {"Architecture", image.platform.architecture},
              {"Os", image.platform.os},
              {"Size", size_of(image, layers)},
              {"GraphDriver", driver_view(image, layers)},
              {"RootFS", rootfs},
              {"Metadata", {{"LastTagTime", rfc3339_nano(image.last_tagged)}}}};
  if (image.created_text.empty()) out.erase("Created");
  if (!image.platform.variant.empty()) out["Variant"] = image.platform.variant;
  if (const auto version = text_of(image.document, "os.version"); !version.empty()) out["OsVersion"] = version;
  return dump(out);
}

result<std::string> history_view(const image_catalog& catalog, const layer_lookup& layers, const image_record& image) {
  json out = json::array();
  size_t layer = 0;
  const auto history = image.document.find("history");
  if (history != image.document.end() && history->is_array()) {
    for (const auto& step : *history) {
      uint64_t size = 0;
      if (!step.value("empty_layer", json(false)).is_boolean() || !step.value("empty_layer", json(false)).get<bool>()) {
        if (layer >= image.chain_ids.size())
          return fail(errc::internal, "too many non-empty layers in History section");
        if (const auto info = layers(image.chain_ids[layer])) size = info->size;
        ++layer;
      }
      int64_t created = 0;
      const bool dated = parse_rfc3339(text_of(step, "created"), created);
      out.insert(out.begin(), json{{"Id", "<missing>"},
                                   {"Created", dated ? unix_seconds(created) : 0},
                                   {"CreatedBy", text_of(step, "created_by")},
                                   {"Tags", nullptr},
                                   {"Size", size},
                                   {"Comment", text_of(step, "comment")}});
    }
  }
  // Each step that an image on this host ends with gets that image's id and tags.
  const image_record* current = &image;
  image_ptr keep;
  for (auto& step : out) {
    step["Id"] = current->id;
    json tags = json::array();
    for (const auto& name : catalog.names_of(current->id))
      if (name.digest().empty()) tags.push_back(name.familiar());
    if (!tags.empty()) step["Tags"] = tags;
    keep = catalog.by_id(current->parent);
    if (keep == nullptr) break;
    current = keep.get();
  }
  return dump(out);
}

std::string removal_view(const std::vector<removal_line>& lines) {
  json out = json::array();
  for (const auto& line : lines) out.push_back({{line.deleted ? "Deleted" : "Untagged", line.what}});
  return dump(out);
}

result<std::vector<std::string>> prune_candidates(const image_catalog& catalog, const std::string& filters, int64_t now,
                                                  bool& dangling_only) {
  ARCA_TRY(f, model::filters::parse(filters));
  ARCA_CHECK(f.validate(prune_filters));
  ARCA_TRY(only, f.get_bool("dangling", true));
  dangling_only = only;
  int64_t until = INT64_MAX;
  const auto& times = f.get("until");
  if (times.size() > 1) return fail(errc::internal, "more than one until filter specified");
  for (const auto& text : times) {
    ARCA_TRY(t, until_time(text, now));
    until = t;
  }
  std::vector<std::string> out;
  for (const auto& [id, image] : catalog.images()) {
    const bool head = catalog.children_of(id).empty();
    const auto names = catalog.names_of(id);
    if (!head && (names.empty() || dangling_only)) continue;
    if (!times.empty() && (!image->has_created || image->created > until)) continue;
    if (!model::labels_match(f, image->labels())) continue;
    const bool tagged = std::any_of(names.begin(), names.end(), [](const auto& n) { return n.digest().empty(); });
    if (dangling_only && tagged) continue;
    out.push_back(id);
  }
  return out;
}

}  // namespace arca
