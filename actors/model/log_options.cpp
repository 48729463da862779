#include "actors/model/log_options.hpp"

#include <re2/re2.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

using options_map = std::map<std::string, std::string>;

options_map options_of(const json& log_config) {
  options_map out;
  if (const auto found = log_config.find("Config"); found != log_config.end() && found->is_object())
    for (const auto& [key, value] : found->items())
      if (value.is_string()) out[key] = value.get<std::string>();
  return out;
}

tl::unexpected<error> refuse(std::string text) {
  return fail(errc::invalid_argument, std::move(text));
}

bool parse_bool(const std::string& text, bool& out) {
  static const std::set<std::string> yes{"1", "t", "T", "TRUE", "true", "True"},
      no{"0", "f", "F", "FALSE", "false", "False"};
  out = yes.count(text) > 0;
  return out || no.count(text) > 0;
}

result<int> parse_count(const std::string& text) {
  int out = 0;
  const auto [p, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc::result_out_of_range)
    return refuse("strconv.Atoi: parsing " + go_quote(text) + ": value out of range");
  if (error != std::errc() || p != text.data() + text.size())
    return refuse("strconv.Atoi: parsing " + go_quote(text) + ": invalid syntax");
  return out;
}

// logger.Info.ExtraAttributes
result<options_map> attributes_of(const options_map& options, const json& config) {
  options_map out, labels, environment;
  if (const auto found = config.find("Labels"); found != config.end() && found->is_object())
    for (const auto& [key, value] : found->items())
      if (value.is_string()) labels[key] = value.get<std::string>();
  if (const auto found = config.find("Env"); found != config.end() && found->is_array())
    for (const auto& e : *found) {
      const auto text = e.is_string() ? e.get<std::string>() : std::string();
      if (const auto equals = text.find('='); equals != std::string::npos)
        environment[text.substr(0, equals)] = text.substr(equals + 1);
    }
  const auto take = [&](const options_map& from, const char* by_name, const char* by_pattern) -> result<void> {
    if (const auto names = options.find(by_name); names != options.end() && !names->second.empty())
      for (const auto& name : split(names->second, ','))
        if (const auto found = from.find(name); found != from.end()) out.insert(*found);
    const auto pattern = options.find(by_pattern);
    if (pattern == options.end() || pattern->second.empty()) return {};
    re2::RE2::Options quiet;
    quiet.set_log_errors(false);
    const re2::RE2 compiled(pattern->second, quiet);
    if (!compiled.ok()) return refuse("error parsing regexp: " + compiled.error());
    for (const auto& entry : from)
      if (re2::RE2::PartialMatch(entry.first, compiled)) out.insert(entry);
    return {};
  };
  ARCA_CHECK(take(labels, "labels", "labels-regex"));
  ARCA_CHECK(take(environment, "env", "env-regex"));
  return out;
}

result<log_options> file_options(log_options out, const options_map& options, const json& config,
                                 const log_tag_fields& fields) {
  if (out.driver == "local") {
    out.max_size = 20'000'000;
    out.max_files = 5;
    out.compress = true;
  }
  const auto given = [&](const char* key) -> const std::string* {
    const auto found = options.find(key);
    return found == options.end() ? nullptr : &found->second;
  };
  if (const auto* size = given("max-size")) {
    ARCA_TRY(bytes, size_in_bytes(*size, 1000));
    if (bytes <= 0) return refuse("max-size must be a positive number");
    out.max_size = bytes;
  }
  if (const auto* files = given("max-file")) {
    ARCA_TRY(count, parse_count(*files));
    if (count < 1) return refuse("max-file cannot be less than 1");
    out.max_files = count;
  }
  if (const auto* compress = given("compress")) {
    if (!parse_bool(*compress, out.compress))
      return refuse("strconv.ParseBool: parsing " + go_quote(*compress) + ": invalid syntax");
    if (out.compress && (out.max_files == 1 || out.max_size == -1))
      return refuse("compress cannot be true when max-file is less than 2 or max-size is not set");
  }
  ARCA_TRY(attributes, attributes_of(options, config));
  out.attributes = std::move(attributes);
  if (const auto* tag = given("tag")) {
    ARCA_TRY(expanded, expand_log_tag(*tag, fields));
    if (!expanded.empty()) out.attributes["tag"] = std::move(expanded);
  }
  return out;
}

}  // namespace

result<int64_t> size_in_bytes(std::string_view text, int64_t step) {
  const auto invalid = [&] { return refuse("invalid size: '" + std::string(text) + "'"); };
  const auto last = text.find_last_of("0123456789. ");
  if (last == std::string_view::npos) return invalid();
  const auto number = std::string(text.substr(0, text[last] == ' ' ? last : last + 1));
  const auto suffix = lower(text.substr(last + 1));
  double size = 0;
  const auto [p, error] = std::from_chars(number.data(), number.data() + number.size(), size);
  if (error != std::errc() || p != number.data() + number.size() || !std::isfinite(size))
    return refuse("strconv.ParseFloat: parsing " + go_quote(number) + ": invalid syntax");
  if (size < 0) return invalid();
  const auto bad_suffix = [&] { return refuse("invalid suffix: '" + suffix + "'"); };
  if (!suffix.empty() && suffix != "b") {
    static constexpr std::string_view units = "kmgtp";
    const auto power = units.find(suffix[0]);
    if (suffix.size() > 3 || power == std::string_view::npos) return bad_suffix();
    const auto rest = suffix.substr(1);
    if (!rest.empty() && rest != "b" && rest != "ib") return bad_suffix();
    size *= std::pow(static_cast<double>(step), static_cast<double>(power + 1));
  }
  return size < 9.2e18 ? static_cast<int64_t>(size) : INT64_MAX;
}

result<void> check_log_config(const json& log_config) {
  const auto options = options_of(log_config);
  const auto type = log_config.value("Type", std::string());
  const auto mode = options.count("mode") > 0 ? options.at("mode") : std::string();
  if (!mode.empty() && mode != "blocking" && mode != "non-blocking")
    return refuse("logger: logging mode not supported: " + mode);
  if (const auto size = options.find("max-buffer-size"); size != options.end()) {
    if (mode != "non-blocking")
      return refuse("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    if (auto bytes = size_in_bytes(size->second, 1024); !bytes)
      return refuse("error parsing option max-buffer-size: " + bytes.error().message());
  }
  if (type == "none") return {};
  if (type != "json-file" && type != "local")
    return refuse("error looking up logging plugin " + type + ": plugin " + go_quote(type) + " not found");
  static const std::set<std::string> common{"max-file", "max-size", "compress", "mode", "max-buffer-size"};
  static const std::set<std::string> of_json{"labels", "labels-regex", "env", "env-regex", "tag"};
  for (const auto& [key, value] : options)
    if (common.count(key) == 0 && (type == "local" || of_json.count(key) == 0))
      return refuse("unknown log opt '" + key + "' for " +
                    (type == "local" ? "log-driver local" : "json-file log driver"));
  return {};
}

result<void> check_default_log_options(const std::string& driver, const options_map& options) {
  if (driver == "none") return {};
  log_options out;
  out.driver = driver;
  auto checked = check_log_config({{"Type", driver}, {"Config", options}});
  if (checked)
    if (auto made = file_options(std::move(out), options, json::object(), {}); !made) checked = fail(made.error());
  if (!checked) return fail(checked.error().wrap("failed to set log opts"));
  return {};
}

result<log_options> resolve_log_options(const json& log_config, const std::map<std::string, std::string>& defaults,
                                        const json& config, const log_tag_fields& fields,
                                        std::string_view default_driver) {
  log_options out;
  auto options = options_of(log_config);
  out.driver = log_config.value("Type", std::string());
  if (out.driver.empty()) out.driver = default_driver;
  if (out.driver == default_driver) options.insert(defaults.begin(), defaults.end());
  if (out.driver == "none") return out;
  out.non_blocking = options.count("mode") > 0 && options.at("mode") == "non-blocking";
  if (const auto size = options.find("max-buffer-size"); size != options.end())
    if (const auto bytes = size_in_bytes(size->second, 1024)) out.max_buffer_size = *bytes;
  auto made = file_options(std::move(out), options, config, fields);
  if (!made)
    return fail(errc::internal,
                "failed to create task for container: failed to initialize logging driver: " + made.error().message());
  return made;
}

result<std::string> expand_log_tag(std::string_view text, const log_tag_fields& fields) {
  const auto short_id = [](std::string_view id) {
    if (const auto colon = id.find(':'); colon != std::string_view::npos) id.remove_prefix(colon + 1);
    return std::string(id.substr(0, 12));
  };
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto open = text.find("{{", at);
    out += text.substr(at, open == std::string_view::npos ? open : open - at);
    if (open == std::string_view::npos) break;
    const auto close = text.find("}}", open);
    if (close == std::string_view::npos) return refuse("template: log-tag:1: unclosed action");
    auto action = text.substr(open + 2, close - open - 2);
    while (!action.empty() && action.front() == ' ') action.remove_prefix(1);
    while (!action.empty() && action.back() == ' ') action.remove_suffix(1);
    at = close + 2;
    if (action.empty()) return refuse("template: log-tag:1: missing value for command");
    if (action == ".ID" || action == ".ContainerID")
      out += action == ".ID" ? short_id(fields.id) : fields.id;
    else if (action == ".FullID")
      out += fields.id;
    else if (action == ".Name")
      out += fields.name.substr(starts_with(fields.name, "/") ? 1 : 0);
    else if (action == ".ContainerName")
      out += starts_with(fields.name, "/") ? fields.name : "/" + fields.name;
    else if (action == ".ImageID")
      out += short_id(fields.image_id);
    else if (action == ".ImageFullID" || action == ".ContainerImageID")
      out += fields.image_id;
    else if (action == ".ImageName" || action == ".ContainerImageName")
      out += fields.image_name;
    else if (action == ".Command")
      out += fields.command;
    else if (action == ".DaemonName")
      out += fields.daemon;
    else if (action.front() == '.')
      return refuse("template: log-tag:1:" + std::to_string(open + 2) + ": executing \"log-tag\" at <" +
                    std::string(action) + ">: can't evaluate field " + std::string(action.substr(1)) +
                    " in type *logger.Info");
    else
      return refuse("template: log-tag:1: function " + go_quote(action.substr(0, action.find(' '))) + " not defined");
  }
  return out;
}

}  // namespace arca::model
