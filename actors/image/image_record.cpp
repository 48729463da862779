#include "actors/image/image_record.hpp"

#include <array>

#include "persistence/base/text.hpp"
#include "persistence/images/layer_store.hpp"

namespace arca {
namespace {
using json = nlohmann::json;

tl::unexpected<error> bad(const std::string& message) {
  return fail(errc::invalid_argument, "invalid image configuration: " + message);
}

bool is_strings(const json& value) {
  if (value.is_null()) return true;
  if (!value.is_array()) return false;
  for (const auto& item : value)
    if (!item.is_string()) return false;
  return true;
}

bool is_string_map(const json& value) {
  if (value.is_null()) return true;
  if (!value.is_object()) return false;
  for (const auto& item : value)
    if (!item.is_string()) return false;
  return true;
}

// A registry may send anything: later readers rely on these types.
result<void> check_config(const json& config) {
  if (config.is_null()) return {};
  if (!config.is_object()) return bad("config is not an object");
  for (const char* key : {"User", "WorkingDir", "StopSignal"})
    if (const auto found = config.find(key); found != config.end() && !found->is_string() && !found->is_null())
      return bad(std::string(key) + " is not a string");
  for (const char* key : {"Env", "Cmd", "Entrypoint", "OnBuild", "Shell"})
    if (const auto found = config.find(key); found != config.end() && !is_strings(*found))
      return bad(std::string(key) + " is not a list of strings");
  for (const char* key : {"ExposedPorts", "Volumes", "Healthcheck"})
    if (const auto found = config.find(key); found != config.end() && !found->is_object() && !found->is_null())
      return bad(std::string(key) + " is not an object");
  if (const auto labels = config.find("Labels"); labels != config.end() && !is_string_map(*labels))
    return bad("Labels is not a map of strings");
  return {};
}

result<std::string> text_of(const json& document, const char* key) {
  const auto found = document.find(key);
  if (found == document.end() || found->is_null()) return std::string();
  if (!found->is_string()) return bad(std::string(key) + " is not a string");
  return found->get<std::string>();
}

result<void> check_history(const json& document) {
  const auto history = document.find("history");
  if (history == document.end() || history->is_null()) return {};
  if (!history->is_array()) return bad("history is not a list");
  for (const auto& item : *history) {
    if (!item.is_object()) return bad("history is not a list of objects");
    for (const char* key : {"created", "created_by", "comment", "author"}) ARCA_CHECK(text_of(item, key));
    if (const auto e = item.find("empty_layer"); e != item.end() && !e->is_boolean() && !e->is_null())
      return bad("empty_layer is not a boolean");
  }
  return {};
}
}  // namespace

const json& image_record::config() const {
  static const json none;
  const auto found = document.find("config");
  return found == document.end() ? none : *found;
}

std::map<std::string, std::string> image_record::labels() const {
  std::map<std::string, std::string> out;
  const auto& c = config();
  if (!c.is_object()) return out;
  if (const auto found = c.find("Labels"); found != c.end() && found->is_object())
    for (const auto& [key, value] : found->items()) out[key] = value.get<std::string>();
  return out;
}

result<image_record> parse_image(const std::string& id, const std::string& document_text) {
  image_record out;
  out.id = id;
  out.document = json::parse(document_text, nullptr, false);
  if (!out.document.is_object()) return bad("it is not a JSON object");
  ARCA_CHECK(check_config(out.config()));
  ARCA_CHECK(check_history(out.document));
  for (const char* key : {"author", "comment", "docker_version", "os.version"}) ARCA_CHECK(text_of(out.document, key));
  ARCA_TRY(os, text_of(out.document, "os"));
  ARCA_TRY(architecture, text_of(out.document, "architecture"));
  ARCA_TRY(variant, text_of(out.document, "variant"));
  ARCA_TRY(created, text_of(out.document, "created"));
  out.platform.os = os.empty() ? "linux" : os;
  out.platform.architecture = architecture;
  out.platform.variant = variant;
  out.created_text = created;
  out.has_created = parse_rfc3339(created, out.created);
  const auto rootfs = out.document.find("rootfs");
  if (rootfs == out.document.end() || !rootfs->is_object() || rootfs->value("type", json()) != json("layers"))
    return fail(errc::invalid_argument, "invalid rootfs in image configuration");
  const auto ids = rootfs->find("diff_ids");
  if (ids != rootfs->end() && !is_strings(*ids))
    return fail(errc::invalid_argument, "invalid rootfs in image configuration");
  if (ids != rootfs->end() && ids->is_array())
    for (const auto& item : *ids) {
      if (!images::is_digest(item.get<std::string>()))
        return fail(errc::invalid_argument, "invalid rootfs in image configuration");
      out.diff_ids.push_back(item.get<std::string>());
    }
  out.chain_ids = images::chain_ids(out.diff_ids);
  return out;
}

row_change image_row(const image_record& record) {
  row_change row;
  row.in = table::images;
  row.key = record.id;
  row.document = json{{"parent", record.parent},
                      {"last_tagged", record.last_tagged},
                      {"manifest", record.manifest_digest},
                      {"layers", record.chain_ids}}
                     .dump(-1, ' ', false, json::error_handler_t::replace);
  return row;
}

result<void> apply_image_row(image_record& record, const std::string& row_document) {
  const auto row = json::parse(row_document, nullptr, false);
  if (!row.is_object()) return fail(errc::internal, "the row is not a JSON object");
  if (const auto p = row.find("parent"); p != row.end() && p->is_string()) record.parent = p->get<std::string>();
  if (const auto m = row.find("manifest"); m != row.end() && m->is_string())
    record.manifest_digest = m->get<std::string>();
  if (const auto t = row.find("last_tagged"); t != row.end() && t->is_number_integer())
    record.last_tagged = t->get<int64_t>();
  return {};
}

}  // namespace arca
