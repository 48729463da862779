#include "actors/model/filters.hpp"

#include <re2/re2.h>

#include <algorithm>

#include "actors/model/go_json.hpp"
#include "actors/model/go_schema.hpp"
#include "actors/model/timestamp.hpp"

namespace arca::model {

result<filters> filters::parse(std::string_view text) {
  filters out;
  if (text.empty()) return out;
  if (auto now = go::unmarshal(text, go::bool_map_map)) {
    if (!now->is_object()) return out;  // null
    for (const auto& [key, values] : now->items()) {
      auto& field = out.fields_[key];
      if (values.is_object())
        for (const auto& [value, unused] : values.items()) field.insert(value);
    }
    return out;
  }
  auto legacy = go::unmarshal(text, go::string_slice_map);
  if (!legacy) return fail(errc::invalid_argument, "invalid filter");
  for (const auto& [key, values] : legacy->items()) {
    auto& field = out.fields_[key];
    if (values.is_array())
      for (const auto& value : values) field.insert(value.get<std::string>());
  }
  return out;
}

result<void> filters::validate(std::span<const std::string_view> accepted) const {
  for (const auto& [key, values] : fields_)
    if (std::find(accepted.begin(), accepted.end(), key) == accepted.end())
      return fail(errc::invalid_argument, "invalid filter '" + key + "'");
  return {};
}

const std::set<std::string>& filters::get(std::string_view key) const {
  static const std::set<std::string> none;
  const auto found = fields_.find(key);
  return found == fields_.end() ? none : found->second;
}

void filters::erase(std::string_view key) {
  if (const auto found = fields_.find(key); found != fields_.end()) fields_.erase(found);
}

bool filters::exact_match(std::string_view key, std::string_view source) const {
  const auto& values = get(key);
  return values.empty() || values.count(std::string(source)) > 0;
}

bool filters::match(std::string_view key, std::string_view source) const {
  if (exact_match(key, source)) return true;
  const auto& values = get(key);
  return std::any_of(values.begin(), values.end(), [&](const auto& value) { return regex_found(value, source); });
}

bool filters::fuzzy_match(std::string_view key, std::string_view source) const {
  if (exact_match(key, source)) return true;
  const auto& values = get(key);
  return std::any_of(values.begin(), values.end(), [&](const auto& v) { return source.substr(0, v.size()) == v; });
}

bool filters::match_kv(std::string_view key, const std::map<std::string, std::string>& source) const {
  const auto& values = get(key);
  return std::all_of(values.begin(), values.end(), [&](const std::string& wanted) {
    const auto equals = wanted.find('=');
    const auto found = source.find(wanted.substr(0, equals));
    return found != source.end() && (equals == std::string::npos || found->second == wanted.substr(equals + 1));
  });
}

result<bool> filters::get_bool(std::string_view key, bool otherwise) const {
  if (!contains(key)) return otherwise;
  const auto& values = get(key);
  const bool no = values.count("0") + values.count("false") > 0;
  const bool yes = values.count("1") + values.count("true") > 0;
  if (no != yes) return yes;
  auto text = "invalid filter '" + std::string(key);
  if (!values.empty()) {
    text += "=[";
    for (const auto& value : values) text += value + " ";
    text.back() = ']';
  }
  return fail(errc::invalid_argument, text + "'");
}

std::string filters::to_json() const {
  json out = json::object();
  for (const auto& [key, values] : fields_) out[key] = values;
  return dump(out);
}

bool regex_found(const std::string& expression, std::string_view text) {
  if (expression.size() > 4096) return false;
  if (expression.find_first_of("\\.+*?()|[]{}^$") == std::string::npos) return text.find(expression) != text.npos;
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  const re2::RE2 compiled(expression, options);
  return compiled.ok() && re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), compiled);
}

bool labels_match(const filters& f, const std::map<std::string, std::string>& labels) {
  if (!f.match_kv("label", labels)) return false;
  return !f.contains("label!") || !f.match_kv("label!", labels);
}

result<int64_t> until_filter(const filters& f, int64_t now_nanos, bool& given) {
  given = f.contains("until");
  if (!given) return int64_t{0};
  const auto& values = f.get("until");
  if (values.size() > 1) return fail(errc::invalid_argument, "more than one until filter specified");
  return parse_time_or_duration(values.empty() ? std::string_view() : std::string_view(*values.begin()), now_nanos);
}

}  // namespace arca::model
