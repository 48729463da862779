#include "actors/model/mounts.hpp"

#include <algorithm>

#include "actors/model/mount_grammar.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

using plan_map = std::map<std::string, mount_plan>;

const json& list(const json& from, const char* key) {
  static const json none = json::array();
  const auto found = from.find(key);
  return found != from.end() && found->is_array() ? *found : none;
}

const json& object(const json& from, const char* key) {
  static const json none = json::object();
  const auto found = from.find(key);
  return found != from.end() && found->is_object() ? *found : none;
}

tl::unexpected<error> duplicate(const std::string& destination) {
  return fail(errc::invalid_argument, "Duplicate mount point: " + destination);
}

result<void> add_volumes_from(plan_map& into, const json& host_config, const volumes_from_lookup& lookup) {
  for (const auto& spec : list(host_config, "VolumesFrom")) {
    ARCA_TRY(from, parse_volumes_from(spec.get<std::string>()));
    if (!lookup) return fail(errc::invalid_argument, "No such container: " + from.container);
    auto points = lookup(from.container);
    if (!points) return fail(errc::invalid_argument, points.error().message());
    for (auto& point : *points) {
      mount_plan plan;
      plan.point = std::move(point);
      plan.point.read_write = plan.point.read_write && mode_is_writable(from.mode);
      plan.point.mode.clear();
      plan.copy_data = false;
      plan.from_container = true;
      const auto destination = plan.point.destination;
      into.insert_or_assign(destination, std::move(plan));
    }
  }
  return {};
}

result<void> add_named(plan_map& into, const json& host_config) {
  std::map<std::string, bool> taken;  // by Binds, Mounts and Tmpfs
  for (const auto& [destination, options] : object(host_config, "Tmpfs").items()) taken[clean_path(destination)] = true;
  const auto add = [&](mount_plan plan) -> result<void> {
    const auto destination = plan.point.destination;
    if (!taken.emplace(destination, true).second) return duplicate(destination);
    if (plan.point.type == "volume" && !plan.anonymous) ARCA_CHECK(check_volume_name(plan.point.name));
    into.insert_or_assign(destination, std::move(plan));
    return {};
  };
  const auto driver = host_config.value("VolumeDriver", std::string());
  for (const auto& spec : list(host_config, "Binds")) {
    ARCA_TRY(plan, parse_bind(spec.get<std::string>(), driver));
    ARCA_CHECK(add(std::move(plan)));
  }
  for (const auto& mount : list(host_config, "Mounts")) ARCA_CHECK(add(plan_of(mount)));
  return {};
}

void add_tmpfs(plan_map& into, const json& host_config) {
  for (const auto& [destination, options] : object(host_config, "Tmpfs").items()) {
    mount_plan plan;
    plan.point.type = "tmpfs";
    plan.point.destination = clean_path(destination);
    plan.tmpfs_options = options.is_string() ? options.get<std::string>() : "";
    plan.from_tmpfs_map = true;
    into.insert_or_assign(plan.point.destination, plan);
  }
}

result<void> add_anonymous(plan_map& into, const json& config, const json& host_config) {
  for (const auto& [path, unused] : object(config, "Volumes").items()) {
    mount_plan plan;
    plan.point.type = "volume";
    plan.point.destination = clean_path("/" + path);
    plan.anonymous = true;
    plan.driver = host_config.value("VolumeDriver", std::string());
    if (plan.point.destination == "/")
      return fail(errc::invalid_argument, "invalid specification: destination can't be '/'");
    into.emplace(plan.point.destination, plan);
  }
  return {};
}

}  // namespace

result<std::vector<mount_plan>> plan_mounts(const json& config, const json& host_config,
                                            const volumes_from_lookup& lookup) {
  plan_map by_destination;
  ARCA_CHECK(add_volumes_from(by_destination, host_config, lookup));
  ARCA_CHECK(add_named(by_destination, host_config));
  add_tmpfs(by_destination, host_config);
  ARCA_CHECK(add_anonymous(by_destination, config, host_config));
  std::vector<mount_plan> out;
  out.reserve(by_destination.size());
  for (auto& [destination, plan] : by_destination) out.push_back(std::move(plan));
  return out;
}

bool shown_in_mounts(const mount_plan& plan) {
  return !plan.from_tmpfs_map;
}

std::string clean_path(std::string_view path) {
  const bool rooted = !path.empty() && path.front() == '/';
  std::vector<std::string> kept;
  for (auto& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..")
      kept.push_back(std::move(part));
    else if (!kept.empty() && kept.back() != "..")
      kept.pop_back();
    else if (!rooted)
      kept.push_back(std::move(part));
  }
  std::string out = rooted ? "/" : "";
  for (size_t i = 0; i < kept.size(); ++i) out += (i > 0 ? "/" : "") + kept[i];
  return out.empty() ? "." : out;
}

result<void> check_volume_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const std::string shown(name);
  if (name.size() == 1)
    return fail(errc::invalid_argument,
                "create " + shown + ": volume name is too short, names should be at least two alphanumeric characters");
  const bool good = !name.empty() && letter(name.front()) && std::all_of(name.begin(), name.end(), [&](char c) {
    return letter(c) || c == '_' || c == '.' || c == '-';
  });
  if (good) return {};
  return fail(errc::invalid_argument, "create " + shown + ": " + go_quote(name) +
                                          " includes invalid characters for a local volume name, only "
                                          "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host "
                                          "directory, use absolute path");
}

}  // namespace arca::model
