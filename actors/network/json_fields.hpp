// Fields of a JSON object that may be missing or of another type. Json: nlohmann's json or ordered_json.
#pragma once
#include <map>
#include <string>

namespace arca {

template <class Json>
std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->template get<std::string>() : std::string{};
}
template <class Json>
bool flag_of(const Json& object, const char* key, bool otherwise = false) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->template get<bool>() : otherwise;
}
template <class Json>
std::map<std::string, std::string> map_of(const Json& object, const char* key) {
  std::map<std::string, std::string> all;
  if (const auto found = object.find(key); found != object.end() && found->is_object())
    for (const auto& [name, value] : found->items())
      if (value.is_string()) all[name] = value.template get<std::string>();
  return all;
}

}  // namespace arca
