#include "actors/volume/volume_record.hpp"

#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"

namespace arca {
namespace {
using json = nlohmann::ordered_json;

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json map_json(const std::optional<string_map>& map) {
  if (!map) return nullptr;
  json object = json::object();
  for (const auto& [key, value] : *map) object[key] = value;
  return object;
}

std::optional<string_map> map_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return std::nullopt;
  string_map map;
  for (const auto& [name, value] : found->items())
    if (value.is_string()) map[name] = value.get<std::string>();
  return map;
}

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
}  // namespace

std::string to_document(const volume_record& v) {
  json users = json::object();
  for (const auto& [container, unnamed] : v.users) users[container] = unnamed;
  return dump({{"name", v.name},
               {"created", v.created},
               {"labels", map_json(v.labels)},
               {"options", map_json(v.options)},
               {"users", std::move(users)}});
}

result<volume_record> volume_from_document(const std::string& text) {
  const auto d = json::parse(text, nullptr, false);
  volume_record v;
  if (d.is_object()) {
    if (const auto name = d.find("name"); name != d.end() && name->is_string()) v.name = name->get<std::string>();
    if (const auto at = d.find("created"); at != d.end() && at->is_number_integer()) v.created = at->get<int64_t>();
    v.labels = map_of(d, "labels");
    v.options = map_of(d, "options");
    if (const auto users = d.find("users"); users != d.end() && users->is_object())
      for (const auto& [container, unnamed] : users->items())
        v.users[container] = unnamed.is_boolean() && unnamed.get<bool>();
  }
  if (!check_volume_name(v.name)) return fail(errc::internal, "damaged row of a volume");
  return v;
}

std::string volume_json(const volume_record& v, const std::string& mountpoint,
                        const std::optional<volume_usage>& usage) {
  json d = {{"CreatedAt", rfc3339_nano(v.created / 1'000'000'000 * 1'000'000'000)},
            {"Driver", "local"},
            {"Labels", map_json(v.labels)},
            {"Mountpoint", mountpoint},
            {"Name", v.name},
            {"Options", map_json(v.options)},
            {"Scope", "local"}};
  if (usage) d["UsageData"] = {{"RefCount", static_cast<int64_t>(v.users.size())}, {"Size", usage->size}};
  return dump(d);
}

result<void> check_volume_name(const std::string& name) {
  if (name.size() < 2)
    return fail(errc::invalid_argument,
                "volume name is too short, names should be at least two alphanumeric characters");
  bool good = is_alphanumeric(name[0]);
  for (const char c : name) good = good && (is_alphanumeric(c) || c == '_' || c == '.' || c == '-');
  if (!good)
    return fail(errc::invalid_argument,
                go_quote(name) +
                    " includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are "
                    "allowed. If you intended to pass a host directory, use absolute path");
  return {};
}

result<void> check_volume_options(const string_map& options) {
  for (const auto& [key, value] : options)
    if (key != "type" && key != "o" && key != "device" && key != "size")
      return fail(errc::invalid_argument, "invalid option: " + go_quote(key));
  const auto given = [&](const char* key) {
    const auto found = options.find(key);
    return found != options.end() && !found->second.empty();
  };
  const auto missing = [](const char* key) {
    return fail(errc::invalid_argument, std::string("missing required option: \"") + key + '"');
  };
  if ((given("type") || given("o")) && !given("device")) return missing("device");
  if ((given("device") || given("o")) && !given("type")) return missing("type");
  for (const auto& [key, value] : options)
    if (!value.empty())
      return fail(errc::unsupported,
                  "option " + go_quote(key) + " is not supported: Arca's local driver makes plain volumes only");
  return {};
}

}  // namespace arca
