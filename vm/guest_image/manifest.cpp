#include "vm/guest_image/manifest.hpp"

#include <nlohmann/json.hpp>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::vm {
namespace {
using json = nlohmann::json;

constexpr int manifest_format = 1;   // of the file
constexpr const char* layout = "1";  // of the initramfs: another one makes another guest of the same parts
constexpr size_t largest_manifest = 64u << 10;

json to_json_value(const file_digest& d) {
  return {{"size", d.size}, {"sha256", d.sha256}};
}
void from_json_value(const json& value, file_digest& into) {
  into.size = value.at("size").get<uint64_t>();
  into.sha256 = value.at("sha256").get<std::string>();
}
}  // namespace

std::string guest_version(const package_id& package, const file_digest& agent,
                          const std::vector<std::vector<std::string>>& modules) {
  const json recipe = {layout, package.name, package.version, package.architecture, agent.sha256, modules};
  return package.version + "-" + digest_of_data(recipe.dump()).sha256.substr(0, 8);
}

std::string to_json(const manifest& m) {
  json package = to_json_value(m.package_file);
  package.update({{"name", m.package.name}, {"version", m.package.version}, {"architecture", m.package.architecture}});
  json agent = to_json_value(m.agent);
  agent["version"] = m.arca_version;
  const nlohmann::ordered_json document = {
      {"format", manifest_format},
      {"version", m.version},
      {"made-at", m.made_at},
      {"arca-version", m.arca_version},
      {"protocol-version", m.protocol_version},
      {"kernel-release", m.kernel_release},
      {"package", package},
      {"agent", agent},
      {"modules", m.modules},
      {"files", {{kernel_file, to_json_value(m.kernel)}, {initrd_file, to_json_value(m.initrd)}}},
  };
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

result<manifest> parse_manifest(std::string_view text) {
  const json document = json::parse(text, nullptr, false);
  try {
    if (document.at("format").get<int>() != manifest_format)
      return fail(errc::invalid_argument, "made by another Arca's setup");
    manifest m;
    m.version = document.at("version").get<std::string>();
    m.made_at = document.at("made-at").get<std::string>();
    m.arca_version = document.at("arca-version").get<std::string>();
    m.protocol_version = document.at("protocol-version").get<uint32_t>();
    m.kernel_release = document.at("kernel-release").get<std::string>();
    const auto& package = document.at("package");
    m.package = {package.at("name").get<std::string>(), package.at("version").get<std::string>(),
                 package.at("architecture").get<std::string>()};
    from_json_value(package, m.package_file);
    from_json_value(document.at("agent"), m.agent);
    m.modules = document.at("modules").get<std::vector<std::vector<std::string>>>();
    from_json_value(document.at("files").at(kernel_file), m.kernel);
    from_json_value(document.at("files").at(initrd_file), m.initrd);
    return m;
  } catch (const json::exception&) {
    return fail(errc::invalid_argument, "no manifest of a guest");
  }
}

result<manifest> read_manifest(const std::string& folder) {
  const std::string path = folder + "/" + manifest_file;
  ARCA_TRY(text, fs::read_file(path, largest_manifest));
  auto parsed = parse_manifest(text);
  if (parsed && parsed->version != folder.substr(folder.rfind('/') + 1))
    parsed = fail(errc::invalid_argument, "it describes guest " + parsed->version);
  if (!parsed) return fail(parsed.error().wrap(path));
  return parsed;
}

}  // namespace arca::vm
