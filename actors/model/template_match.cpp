#include "actors/model/template_match.hpp"

#include <re2/re2.h>

namespace arca::model::golden {
namespace {

// A whole value "{{…}}": which JSON types it stands for.
bool matches_type(const std::string& placeholder, const json& actual) {
  const auto name = placeholder.substr(2, placeholder.size() - 4);
  if (name == "list") return actual.is_array();
  if (name == "list?") return actual.is_array() || actual.is_null();
  if (name == "object") return actual.is_object();
  if (name == "object?") return actual.is_object() || actual.is_null();
  if (name == "bool") return actual.is_boolean();
  if (name == "int" || name == "unix") return actual.is_number_integer();
  if (name == "int+") return actual.is_number_integer() && actual.get<int64_t>() > 0;
  if (name == "int0") return actual.is_number_integer() && actual.get<int64_t>() >= 0;
  if (name == "null") return actual.is_null();
  if (name == "anything") return true;
  return actual.is_string();
}

// The template of a string as a regular expression.
std::string expression_of(const std::string& text) {
  std::string out = "(?s)";
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, 5, "{{re:") == 0) {
      const auto end = text.find("}}", i);
      out += "(?:" + text.substr(i + 5, end - i - 5) + ")";
      i = end + 2;
    } else if (text.compare(i, 2, "{{") == 0 || text.compare(i, 2, "${") == 0) {
      const bool variable = text[i] == '$';
      const auto end = text.find(variable ? "}" : "}}", i);
      out += ".*";
      i = end + (variable ? 1 : 2);
    } else {
      out += re2::RE2::QuoteMeta(text.substr(i, 1));
      ++i;
    }
  }
  return out;
}

bool whole_placeholder(const std::string& text) {
  return text.size() > 4 && text.compare(0, 2, "{{") == 0 && text.find("}}") == text.size() - 2 &&
         text.compare(0, 5, "{{re:") != 0;
}

}  // namespace

std::string substitute(const std::string& text, const variables& known) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto end = text.compare(i, 2, "${") == 0 ? text.find('}', i) : std::string::npos;
    if (end == std::string::npos) {
      out += text[i++];
      continue;
    }
    auto name = text.substr(i + 2, end - i - 2);
    size_t length = std::string::npos;
    if (const auto colon = name.find(':'); colon != std::string::npos) {
      length = static_cast<size_t>(std::stoi(name.substr(colon + 1)));
      name.resize(colon);
    }
    const bool hex = name.size() > 4 && name.compare(name.size() - 4, 4, "_hex") == 0;
    const auto found = known.find(hex ? name.substr(0, name.size() - 4) : name);
    if (found == known.end())
      out += text.substr(i, end + 1 - i);
    else
      out += found->second.substr(hex ? found->second.find(':') + 1 : 0).substr(0, length);
    i = end + 1;
  }
  return out;
}

json substitute(const json& value, const variables& known) {
  if (value.is_string()) return substitute(value.get<std::string>(), known);
  json out = value;
  if (value.is_array())
    for (auto& e : out) e = substitute(e, known);
  if (value.is_object()) {
    out = json::object();
    for (const auto& [key, e] : value.items()) out[substitute(key, known)] = substitute(e, known);
  }
  return out;
}

std::string difference(const json& expected, const json& actual, const variables& known, const std::string& path) {
  if (expected.is_string()) {
    const auto text = substitute(expected.get<std::string>(), known);
    if (whole_placeholder(text))
      return matches_type(text, actual) ? "" : path + ": " + text + " is " + dump(actual) + "\n";
    if (actual.is_string() && re2::RE2::FullMatch(actual.get<std::string>(), expression_of(text))) return "";
    return path + ": expected " + text + ", is " + dump(actual) + "\n";
  }
  std::string out;
  if (expected.is_object() && actual.is_object()) {
    for (const auto& [key, value] : expected.items()) {
      const auto name = substitute(key, known);
      if (actual.contains(name))
        out += difference(value, actual[name], known, path + "." + name);
      else if (name.find("{{") == std::string::npos)
        out += path + "." + name + ": missing\n";
    }
    for (const auto& [key, value] : actual.items())
      if (!expected.contains(key) && expected.dump().find("{{id64}}\":") == std::string::npos)
        out += path + "." + key + ": extra, " + dump(value) + "\n";
    return out;
  }
  if (expected.is_array() && actual.is_array() && expected.size() == actual.size()) {
    for (size_t i = 0; i < expected.size(); ++i)
      out += difference(expected[i], actual[i], known, path + "[" + std::to_string(i) + "]");
    return out;
  }
  return expected == actual ? "" : path + ": expected " + dump(expected) + ", is " + dump(actual) + "\n";
}

}  // namespace arca::model::golden
