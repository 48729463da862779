#include "actors/events/event_filter.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"

namespace arca {
namespace {
/// "exec_create: sh -c x" is action exec_create.
std::string bare_action(const std::string& action) {
  return action.substr(0, action.find(':'));
}

std::string attribute(const publish_event& e, const std::string& key) {
  const auto found = e.attributes.find(key);
  return found == e.attributes.end() ? std::string() : found->second;
}

/// Docker's fuzzy match: a prefix of the id or of the name, whatever the event's type is.
bool names_object(const publish_event& e, const std::string& value) {
  return e.actor_id.starts_with(value) || attribute(e, "name").starts_with(value);
}

bool matches_image(const publish_event& e, const std::string& value) {
  const auto familiar = [](const std::string& name) { return name.substr(0, name.rfind(':')); };
  const std::string name = e.type == "image" ? attribute(e, "name") : attribute(e, "image");
  if (e.type == "image" && e.actor_id == value) return true;
  return !name.empty() && (name == value || familiar(name) == value);
}

bool matches_label(const publish_event& e, const std::string& value) {
  const auto at = value.find('=');
  const auto found = e.attributes.find(value.substr(0, at));
  return found != e.attributes.end() && (at == std::string::npos || found->second == value.substr(at + 1));
}
}  // namespace

result<event_filter> event_filter::parse(const std::string& filters) {
  event_filter f;
  if (filters.empty()) return f;
  const auto document = nlohmann::json::parse(filters, nullptr, false);
  if (!document.is_object()) return fail(errc::invalid_argument, "invalid filter");
  for (const auto& [key, values] : document.items()) {
    if (values.is_array()) {
      for (const auto& v : values)
        if (v.is_string()) f.wanted_[key].insert(v.get<std::string>());
    } else if (values.is_object()) {
      for (const auto& [v, on] : values.items())
        if (on.is_boolean() && on.get<bool>()) f.wanted_[key].insert(v);
    } else {
      return fail(errc::invalid_argument, "invalid filter");
    }
  }
  return f;
}

bool event_filter::matches(const publish_event& e) const {
  return std::all_of(wanted_.begin(), wanted_.end(), [&](const auto& w) { return match_one(w.first, w.second, e); });
}

bool event_filter::match_one(const std::string& key, const std::set<std::string>& values,
                             const publish_event& e) const {
  const auto any = [&](auto&& test) { return std::any_of(values.begin(), values.end(), test); };
  if (key == "type") return any([&](const auto& v) { return v == e.type; });
  if (key == "event") return any([&](const auto& v) { return v == e.action || v == bare_action(e.action); });
  if (key == "container" || key == "network" || key == "volume" || key == "daemon" || key == "plugin")
    return any([&](const auto& v) { return names_object(e, v); });
  if (key == "image") return any([&](const auto& v) { return matches_image(e, v); });
  if (key == "label")
    return std::all_of(values.begin(), values.end(), [&](const auto& v) { return matches_label(e, v); });
  if (key == "scope") return any([&](const auto& v) { return v == "local"; });
  return true;
}

std::string event_line(const publish_event& e) {
  nlohmann::ordered_json line;
  if (e.type == "container" || e.type == "image") {
    line["status"] = e.action;
    line["id"] = e.actor_id;
    if (const auto image = attribute(e, "image"); e.type == "container" && !image.empty()) line["from"] = image;
  }
  line["Type"] = e.type;
  line["Action"] = e.action;
  line["Actor"]["ID"] = e.actor_id;
  line["Actor"]["Attributes"] = e.attributes;
  line["scope"] = "local";
  line["time"] = e.time_nano / 1'000'000'000;
  line["timeNano"] = e.time_nano;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace arca
