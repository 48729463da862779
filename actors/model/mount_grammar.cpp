#include "actors/model/mount_grammar.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool absolute(std::string_view path) {
  return !path.empty() && path.front() == '/';
}

// Go's filepath.IsLocal on Unix.
bool is_local(std::string_view path) {
  if (path.empty() || absolute(path)) return false;
  const auto clean = clean_path(path);
  return clean != ".." && !starts_with(clean, "../");
}

result<void> check_destination(std::string_view path) {
  if (clean_path(path) == "/") return fail(errc::invalid_argument, "invalid specification: destination can't be '/'");
  if (!absolute(path))
    return fail(errc::invalid_argument, "invalid mount path: '" + std::string(path) + "' mount path must be absolute");
  return {};
}

bool given(const json& mount, const char* key) {
  const auto found = mount.find(key);
  return found != mount.end() && !found->is_null();
}

std::string text(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool flag(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && found->is_boolean() && found->get<bool>();
}

std::map<std::string, std::string> text_map(const json& from, const char* key) {
  std::map<std::string, std::string> out;
  if (const auto found = from.find(key); found != from.end() && found->is_object())
    for (const auto& [name, value] : found->items())
      if (value.is_string()) out[name] = value.get<std::string>();
  return out;
}

const json& part(const json& from, const char* key) {
  static const json none = json::object();
  const auto found = from.find(key);
  return found != from.end() && found->is_object() ? *found : none;
}

// TmpfsOptions → options of a tmpfs mount. Docker shows sizes in the largest whole unit; the kernel takes bytes as
// well.
std::string tmpfs_options_of(const json& options, bool read_only) {
  std::string out = read_only ? "ro" : "";
  const auto add = [&](const std::string& word) { out += (out.empty() ? "" : ",") + word; };
  if (const auto mode = options.find("Mode");
      mode != options.end() && mode->is_number_integer() && mode->get<int64_t>() != 0) {
    char octal[16];
    std::snprintf(octal, sizeof octal, "%o", mode->get<unsigned>());
    add(std::string("mode=") + octal);
  }
  if (const auto size = options.find("SizeBytes");
      size != options.end() && size->is_number_integer() && size->get<int64_t>() != 0)
    add("size=" + std::to_string(size->get<int64_t>()));
  if (const auto list = options.find("Options"); list != options.end() && list->is_array())
    for (const auto& pair : *list) {
      if (!pair.is_array() || pair.empty()) continue;
      add(pair.size() > 1 ? pair[0].get<std::string>() + "=" + pair[1].get<std::string>() : pair[0].get<std::string>());
    }
  return out;
}

result<void> check_tmpfs_options(const json& options) {
  const auto list = options.find("Options");
  if (list == options.end() || !list->is_array()) return {};
  for (const auto& pair : *list) {
    const auto words = pair.is_array() ? pair.size() : 0;
    if (words != 1 && words != 2) return fail(errc::invalid_argument, "invalid option array length");
    if (!is_one_of(
            pair[0].get<std::string>(),
            {"exec",  "noexec",   "nosuid",     "suid",        "nodev",     "dev",       "rw",       "ro",
             "size",  "mode",     "uid",        "gid",         "nr_inodes", "nr_blocks", "mpol",     "noatime",
             "atime", "relatime", "norelatime", "strictatime", "sync",      "async",     "diratime", "nodiratime"}))
      return fail(errc::invalid_argument, "invalid option: " + pair[0].get<std::string>());
  }
  return {};
}

}  // namespace

bool known_propagation(std::string_view word) {
  return is_one_of(word, {"private", "rprivate", "slave", "rslave", "shared", "rshared"});
}

bool valid_mount_mode(std::string_view mode) {
  if (mode.empty()) return true;
  int access = 0, label = 0, propagation = 0, copy = 0, consistency = 0;
  for (const auto& word : split(mode, ',')) {
    if (is_one_of(word, {"rw", "ro"}))
      ++access;
    else if (is_one_of(word, {"Z", "z"}))
      ++label;
    else if (known_propagation(word))
      ++propagation;
    else if (word == "nocopy")
      ++copy;
    else if (is_one_of(word, {"consistent", "cached", "delegated", "default"}))
      ++consistency;
    else
      return false;
  }
  return access < 2 && label < 2 && propagation < 2 && copy < 2 && consistency < 2;
}

bool mode_is_writable(std::string_view mode) {
  const auto words = split(mode, ',');
  return std::find(words.begin(), words.end(), "ro") == words.end();
}

bool mode_has_nocopy(std::string_view mode) {
  const auto words = split(mode, ',');
  return std::find(words.begin(), words.end(), "nocopy") != words.end();
}

std::string propagation_of(std::string_view mode) {
  for (const auto& word : split(mode, ','))
    if (known_propagation(word)) return word;
  return {};
}

result<mount_plan> parse_bind(const std::string& spec, const std::string& volume_driver) {
  const auto invalid = "invalid volume specification: '" + spec + "'";
  const auto parts = split(spec, ':');
  if (spec.empty() || parts[0].empty() || parts.size() > 3) return fail(errc::internal, invalid);
  json mount = {{"Type", "volume"}, {"Source", ""}, {"Target", parts.back()}, {"ReadOnly", false}};
  std::string mode;
  if (parts.size() == 2 && valid_mount_mode(parts[1])) return fail(errc::internal, invalid);
  if (parts.size() > 1) {
    mount["Source"] = parts[0];
    mount["Target"] = parts[1];
  }
  if (parts.size() == 3) mode = parts[2];
  if (!valid_mount_mode(mode)) return fail(errc::internal, "invalid mode: " + mode);
  const bool is_bind = absolute(text(mount, "Source"));
  if (is_bind) mount["Type"] = "bind";
  mount["ReadOnly"] = !mode_is_writable(mode);
  if (!volume_driver.empty() && !is_bind) mount["VolumeOptions"]["DriverConfig"]["Name"] = volume_driver;
  if (mode_has_nocopy(mode)) mount["VolumeOptions"]["NoCopy"] = true;
  if (const auto propagation = propagation_of(mode); !propagation.empty())
    mount["BindOptions"]["Propagation"] = propagation;
  // The grammar has no word for read-only on an anonymous volume, so Mounts' check of it does not apply.
  if (auto checked = check_mount_shape(mount); !checked)
    return fail(errc::internal, invalid + ": " + checked.error().message());
  auto plan = plan_of(mount);
  plan.point.mode = mode;
  plan.create_source = is_bind;
  if (plan.point.type == "volume" && mode.empty()) plan.point.mode = "z";
  return plan;
}

result<volumes_from> parse_volumes_from(const std::string& spec) {
  if (spec.empty()) return fail(errc::invalid_argument, "volumes-from specification cannot be an empty string");
  const auto colon = spec.find(':');
  volumes_from out{spec.substr(0, colon), colon == std::string::npos ? "rw" : spec.substr(colon + 1)};
  if (out.mode.empty()) out.mode = "rw";
  if (!valid_mount_mode(out.mode) || !propagation_of(out.mode).empty() || mode_has_nocopy(out.mode))
    return fail(errc::invalid_argument, "invalid mode: " + out.mode);
  return out;
}

result<void> check_mount_shape(const json& mount) {
  const auto type = text(mount, "Type"), source = text(mount, "Source"), target = text(mount, "Target");
  const auto refuse = [&](const std::string& why) {
    return fail(errc::invalid_argument, "invalid mount config for type " + go_quote(type) + ": " + why);
  };
  const auto missing = [&](const char* what) { return refuse("field " + std::string(what) + " must not be empty"); };
  const auto extra = [&](const char* what) { return refuse("field " + std::string(what) + " must not be specified"); };
  if (target.empty()) return missing("Target");
  if (auto good = check_destination(target); !good) return refuse(good.error().message());

  if (type == "bind") {
    if (source.empty()) return missing("Source");
    const auto propagation = text(part(mount, "BindOptions"), "Propagation");
    if (!propagation.empty() && !known_propagation(propagation))
      return refuse("invalid propagation mode: " + propagation);
    for (const char* key : {"VolumeOptions", "ImageOptions"})
      if (given(mount, key)) return extra(key);
    if (!absolute(source)) return refuse("invalid mount path: '" + source + "' mount path must be absolute");
    return {};
  }
  if (type == "volume") {
    for (const char* key : {"BindOptions", "ImageOptions"})
      if (given(mount, key)) return extra(key);
    const auto subpath = text(part(mount, "VolumeOptions"), "Subpath");
    if (!subpath.empty() && source.empty()) return refuse("must not set Subpath when using anonymous volumes");
    if (!subpath.empty() && !is_local(subpath)) return refuse("subpath must be a relative path within the volume");
    if (flag(mount, "ReadOnly") && source.empty())
      return refuse("must not set ReadOnly mode when using anonymous volumes");
    return {};
  }
  if (type == "tmpfs") {
    for (const char* key : {"BindOptions", "ImageOptions"})
      if (given(mount, key)) return extra(key);
    if (!source.empty()) return extra("Source");
    if (auto good = check_tmpfs_options(part(mount, "TmpfsOptions")); !good) return refuse(good.error().message());
    return {};
  }
  if (type == "image") {
    for (const char* key : {"BindOptions", "VolumeOptions", "TmpfsOptions"})
      if (given(mount, key)) return extra(key);
    if (source.empty()) return missing("Source");
    const auto subpath = text(part(mount, "ImageOptions"), "Subpath");
    if (!subpath.empty() && !is_local(subpath)) return refuse("subpath must be a relative path within the image");
    return {};
  }
  return refuse("mount type unknown");
}

result<void> check_mount(const json& mount) {
  ARCA_CHECK(check_mount_shape(mount));
  if (text(mount, "Type") != "bind" || flag(part(mount, "BindOptions"), "CreateMountpoint")) return {};
  const auto source = text(mount, "Source");
  struct stat info {};
  if (::stat(source.c_str(), &info) == 0) return {};
  return fail(errc::invalid_argument,
              "invalid mount config for type \"bind\": bind source path does not exist: " + source);
}

result<void> check_tmpfs_destination(std::string_view destination) {
  return check_destination(destination);
}

mount_plan plan_of(const json& mount) {
  mount_plan plan;
  auto& point = plan.point;
  point.type = text(mount, "Type");
  point.destination = clean_path(text(mount, "Target"));
  point.read_write = !flag(mount, "ReadOnly");
  const auto source = text(mount, "Source");
  if (point.type == "bind") {
    const auto& options = part(mount, "BindOptions");
    point.source = clean_path(source);
    point.propagation = text(options, "Propagation");
    if (point.propagation.empty()) point.propagation = "rprivate";
    plan.create_source = flag(options, "CreateMountpoint");
    plan.recursive = !flag(options, "NonRecursive");
    plan.read_only_recursive = !flag(options, "ReadOnlyNonRecursive");
    plan.force_recursive_read_only = flag(options, "ReadOnlyForceRecursive");
  } else if (point.type == "volume") {
    const auto& options = part(mount, "VolumeOptions");
    point.name = source;
    point.mode = "z";
    plan.anonymous = source.empty();
    plan.copy_data = !flag(options, "NoCopy");
    plan.subpath = text(options, "Subpath");
    plan.driver = text(part(options, "DriverConfig"), "Name");
    plan.volume_options = text_map(part(options, "DriverConfig"), "Options");
    plan.volume_labels = text_map(options, "Labels");
  } else if (point.type == "tmpfs") {
    plan.tmpfs_options = tmpfs_options_of(part(mount, "TmpfsOptions"), flag(mount, "ReadOnly"));
  } else {
    point.name = point.source = source;
    point.read_write = false;
    plan.subpath = text(part(mount, "ImageOptions"), "Subpath");
  }
  return plan;
}

}  // namespace arca::model
