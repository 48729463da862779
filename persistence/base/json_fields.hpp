// Reading somebody else's JSON without exceptions: null, missing and wrong types all mean "not given".
#pragma once
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace arca::json_fields {

using nlohmann::json;

inline const json& member(const json& object, const char* name) {
  static const json null;
  if (!object.is_object()) return null;
  const auto found = object.find(name);
  return found == object.end() ? null : *found;
}
inline std::string text(const json& object, const char* name) {
  const auto& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}
inline bool flag(const json& object, const char* name) {
  const auto& value = member(object, name);
  return value.is_boolean() && value.get<bool>();
}
inline std::optional<int64_t> integer(const json& object, const char* name) {
  const auto& value = member(object, name);
  if (!value.is_number()) return std::nullopt;
  return value.get<int64_t>();
}
inline int64_t integer_or(const json& object, const char* name, int64_t other) {
  return integer(object, name).value_or(other);
}
inline std::vector<std::string> texts(const json& object, const char* name) {
  std::vector<std::string> out;
  const auto& list = member(object, name);
  if (list.is_array())
    for (const auto& item : list)
      if (item.is_string()) out.push_back(item.get<std::string>());
  return out;
}
inline std::map<std::string, std::string> text_map(const json& object, const char* name) {
  std::map<std::string, std::string> out;
  const auto& map = member(object, name);
  if (map.is_object())
    for (const auto& [key, value] : map.items())
      if (value.is_string()) out.emplace(key, value.get<std::string>());
  return out;
}
inline std::string to_text(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace arca::json_fields
