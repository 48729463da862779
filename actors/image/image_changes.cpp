#include "actors/image/image_changes.hpp"

#include <algorithm>
#include <array>

#include "actors/model/signals.hpp"
#include "actors/model/timestamp.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using json = nlohmann::json;

tl::unexpected<error> bad(std::string message) {
  return fail(errc::invalid_argument, std::move(message));
}

std::string trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

// ["a", "b"]; false when the text is no JSON list of strings (then it is in shell form).
bool json_form(const std::string& text, std::vector<std::string>& out) {
  if (!text.starts_with('[')) return false;
  const auto list = json::parse(text, nullptr, false);
  if (!list.is_array()) return false;
  out.clear();
  for (const auto& item : list) {
    if (!item.is_string()) return false;
    out.push_back(item.get<std::string>());
  }
  return true;
}

// Words of a line as the shell would cut it: quotes and backslashes are honoured and stay in the word.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  char quote = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == 0 && (c == ' ' || c == '\t')) {
      if (in_word) out.push_back(std::exchange(word, {}));
      in_word = false;
      continue;
    }
    in_word = true;
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word += c;
      word += text[++i];
      continue;
    }
    if (quote == 0 && (c == '"' || c == '\''))
      quote = c;
    else if (c == quote)
      quote = 0;
    word += c;
  }
  if (in_word) out.push_back(word);
  return out;
}

std::string unquote(std::string_view text) {
  std::string out;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      if (quote == '"' && text[i + 1] != '"' && text[i + 1] != '\\' && text[i + 1] != '$') out += c;
      out += text[++i];
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (quote != 0 && c == quote) {
      quote = 0;
    } else {
      out += c;
    }
  }
  return out;
}

using pairs = std::vector<std::pair<std::string, std::string>>;

// NAME=VALUE …, or the old form NAME VALUE with one name.
result<pairs> name_values(const std::string& keyword, const std::string& rest) {
  const auto words = words_of(rest);
  if (words.empty()) return bad(keyword + " requires at least one argument");
  pairs out;
  if (words[0].find('=') == std::string::npos) {
    if (words.size() < 2) return bad(keyword + " must have two arguments");
    out.emplace_back(unquote(words[0]), trim(std::string_view(rest).substr(rest.find(words[0]) + words[0].size())));
    return out;
  }
  for (const auto& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos)
      return bad("Syntax error - can't find = in " + go_quote(word) + ". Must be of the form: name=value");
    out.emplace_back(unquote(word.substr(0, equals)), unquote(word.substr(equals + 1)));
    if (out.back().first.empty()) return bad(keyword + " names can not be blank");
  }
  return out;
}

void set_env(json& config, const std::string& name, const std::string& value) {
  auto& env = config["Env"];
  if (!env.is_array()) env = json::array();
  for (auto& item : env)
    if (item.is_string() && item.get<std::string>().starts_with(name + '=')) {
      item = name + '=' + value;
      return;
    }
  env.push_back(name + '=' + value);
}

json as_command(const std::string& rest) {
  std::vector<std::string> words;
  if (json_form(rest, words)) return words;
  return json::array({"/bin/sh", "-c", rest});
}

result<void> expose(json& config, const std::string& rest) {
  auto words = words_of(rest);
  if (words.empty()) return bad("EXPOSE requires at least one argument");
  for (const auto& word : words) {
    const auto slash = word.find('/');
    const auto port = word.substr(0, slash);
    const auto protocol = slash == std::string::npos ? "tcp" : lower(word.substr(slash + 1));
    const auto dash = port.find('-');
    const auto number = [&](const std::string& text) -> int {
      if (text.empty() || text.size() > 5 ||
          !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return -1;
      const int value = std::stoi(text);
      return value <= 65535 ? value : -1;
    };
    const int first = number(port.substr(0, dash));
    const int last = dash == std::string::npos ? first : number(port.substr(dash + 1));
    if (first < 0 || last < first) return bad("invalid containerPort: " + word);
    if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") return bad("invalid proto: " + protocol);
    for (int p = first; p <= last; ++p) config["ExposedPorts"][std::to_string(p) + '/' + protocol] = json::object();
  }
  return {};
}

result<void> volume(json& config, const std::string& rest) {
  std::vector<std::string> words;
  if (!json_form(rest, words)) words = words_of(rest);
  if (words.empty()) return bad("VOLUME requires at least one argument");
  for (const auto& word : words) {
    const auto path = trim(word);
    if (path.empty()) return bad("VOLUME specified can not be an empty string");
    config["Volumes"][path] = json::object();
  }
  return {};
}

// A path as it is after WORKDIR: relative ones go on from the last.
std::string join_path(const std::string& base, const std::string& path) {
  std::vector<std::string> parts;
  const auto whole = path.starts_with('/') ? path : (base.empty() ? "/" : base) + '/' + path;
  for (const auto& part : split(whole, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const auto& part : parts) out += '/' + part;
  return out.empty() ? "/" : out;
}

result<void> healthcheck(json& config, const std::string& rest) {
  json check = json::object();
  std::string left = rest;
  while (left.starts_with("--")) {
    const auto end = left.find_first_of(" \t");
    const auto flag = left.substr(2, end == std::string::npos ? end : end - 2);
    left = end == std::string::npos ? std::string() : trim(left.substr(end));
    const auto equals = flag.find('=');
    const auto name = flag.substr(0, equals);
    const auto value = equals == std::string::npos ? std::string() : flag.substr(equals + 1);
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> times = {
        {{"interval", "Interval"},
         {"timeout", "Timeout"},
         {"start-period", "StartPeriod"},
         {"start-interval", "StartInterval"}}};
    const auto* known = std::find_if(times.begin(), times.end(), [&](const auto& t) { return t.first == name; });
    int64_t nanos = 0;
    if (known != times.end()) {
      if (!model::parse_duration(value, nanos)) return bad("time: invalid duration " + go_quote(value));
      check[std::string(known->second)] = nanos;
    } else if (name == "retries" && !value.empty() && value.size() < 10 &&
               std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      check["Retries"] = std::stoi(value);
    } else {
      return bad("unknown flag: " + name);
    }
  }
  const auto space = left.find_first_of(" \t");
  const auto kind = upper(left.substr(0, space));
  const auto arguments = space == std::string::npos ? std::string() : trim(left.substr(space));
  if (kind == "NONE") {
    check["Test"] = json::array({"NONE"});
  } else if (kind == "CMD") {
    std::vector<std::string> words;
    if (json_form(arguments, words)) {
      words.insert(words.begin(), "CMD");
      check["Test"] = words;
    } else {
      check["Test"] = json::array({"CMD-SHELL", arguments});
    }
  } else {
    return bad("unknown type " + go_quote(kind) + " in HEALTHCHECK (try CMD)");
  }
  config["Healthcheck"] = check;
  return {};
}

result<void> apply(json& config, const std::string& change) {
  const auto line = trim(change);
  const auto space = line.find_first_of(" \t");
  const auto keyword = upper(line.substr(0, space));
  const auto rest = space == std::string::npos ? std::string() : trim(line.substr(space));
  static constexpr std::array<std::string_view, 11> known = {"CMD",         "ENTRYPOINT", "ENV",     "EXPOSE",
                                                             "HEALTHCHECK", "LABEL",      "ONBUILD", "STOPSIGNAL",
                                                             "USER",        "VOLUME",     "WORKDIR"};
  if (std::find(known.begin(), known.end(), keyword) == known.end())
    return bad(line.substr(0, space) + " is not a valid change command");
  const bool takes_one = keyword == "USER" || keyword == "STOPSIGNAL" || keyword == "WORKDIR";
  if (takes_one && (rest.empty() || (keyword == "STOPSIGNAL" && words_of(rest).size() != 1)))
    return bad(keyword + " requires exactly one argument");
  if (rest.empty()) return bad(keyword + " requires at least one argument");
  if (keyword == "CMD")
    config["Cmd"] = as_command(rest);
  else if (keyword == "ENTRYPOINT")
    config["Entrypoint"] = as_command(rest);
  else if (keyword == "USER")
    config["User"] = unquote(rest);
  else if (keyword == "STOPSIGNAL") {
    auto signal = unquote(rest);
    ARCA_CHECK(model::parse_signal(signal));
    config["StopSignal"] = std::move(signal);
  } else if (keyword == "WORKDIR")
    config["WorkingDir"] = join_path(config.value("WorkingDir", std::string()), unquote(rest));
  else if (keyword == "EXPOSE")
    return expose(config, rest);
  else if (keyword == "VOLUME")
    return volume(config, rest);
  else if (keyword == "HEALTHCHECK")
    return healthcheck(config, rest);
  else if (keyword == "ONBUILD") {
    const auto trigger = upper(rest.substr(0, rest.find_first_of(" \t")));
    if (trigger == "ONBUILD") return bad("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (trigger == "MAINTAINER" || trigger == "FROM") return bad(trigger + " isn't allowed as an ONBUILD trigger");
    if (!config["OnBuild"].is_array()) config["OnBuild"] = json::array();
    config["OnBuild"].push_back(rest);
  } else {
    ARCA_TRY(values, name_values(keyword, rest));
    for (const auto& [name, value] : values) {
      if (keyword == "ENV")
        set_env(config, name, value);
      else
        config["Labels"][name] = value;
    }
  }
  return {};
}
}  // namespace

result<void> apply_changes(nlohmann::json& config, const std::vector<std::string>& changes) {
  if (!config.is_object()) config = json::object();
  bool none = !changes.empty();
  for (const auto& change : changes) {
    // One parameter may hold several lines.
    for (const auto& line : split(change, '\n')) {
      const auto text = trim(line);
      if (text.empty() || text.starts_with('#')) continue;
      none = false;
      ARCA_CHECK(apply(config, text));
    }
  }
  if (none) return bad("file with no instructions");
  return {};
}

}  // namespace arca
