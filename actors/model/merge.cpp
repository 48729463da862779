#include "actors/model/create.hpp"
#include "actors/model/validation.hpp"

namespace arca::model {
namespace {

void take_if_empty(json& config, const json& image, const char* key) {
  if (text_of(config, key).empty() && !text_of(image, key).empty()) config[key] = image[key];
}

// Sets and maps: the user's entries win.
void merge_map(json& config, const json& image, const char* key) {
  const auto& from = object_of(image, key);
  if (from.empty()) return;
  if (!config[key].is_object()) config[key] = json::object();
  for (const auto& [name, value] : from.items())
    if (!config[key].contains(name)) config[key][name] = value;
}

std::string name_of(const std::string& variable) {
  return variable.substr(0, variable.find('='));
}

void merge_environment(json& config, const json& image) {
  const auto& from = list_of(image, "Env");
  if (list_of(config, "Env").empty()) {
    if (!from.empty()) config["Env"] = from;
    return;
  }
  auto& env = config["Env"];
  const auto own = env.size();
  for (const auto& variable : from) {
    if (!variable.is_string()) continue;
    const auto name = name_of(variable.get<std::string>());
    bool found = false;
    for (size_t i = 0; i < own && !found; ++i) found = name_of(env[i].get<std::string>()) == name;
    if (!found) env.push_back(variable);
  }
}

void merge_health(json& config, const json& image) {
  const auto from = image.find("Healthcheck");
  if (from == image.end() || !from->is_object()) return;
  auto& own = config["Healthcheck"];
  if (!own.is_object()) own = json::object();
  if (list_of(own, "Test").empty()) own["Test"] = list_of(*from, "Test");
  for (const char* key : {"Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"})
    if (number_of(own, key) == 0) own[key] = number_of(*from, key);
}

}  // namespace

void merge_image_config(json& config, const json& image) {
  for (const char* key : {"User", "WorkingDir", "StopSignal"}) take_if_empty(config, image, key);
  if (!config["Labels"].is_object()) config["Labels"] = json::object();
  for (const char* key : {"ExposedPorts", "Labels", "Volumes"}) merge_map(config, image, key);
  if (config["Volumes"].is_object() && config["Volumes"].empty()) config["Volumes"] = nullptr;
  merge_environment(config, image);
  if (list_of(config, "Entrypoint").empty()) {
    if (list_of(config, "Cmd").empty() && !list_of(image, "Cmd").empty()) config["Cmd"] = image["Cmd"];
    // An empty list, unlike null, switches the image's entrypoint off.
    if (is_null(config, "Entrypoint") && !is_null(image, "Entrypoint")) config["Entrypoint"] = image["Entrypoint"];
  }
  merge_health(config, image);
}

}  // namespace arca::model
