#include "persistence/registry/manifest.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "persistence/base/text.hpp"
#include "persistence/registry/reference.hpp"

namespace arca::registry {
namespace {
using json = nlohmann::json;

constexpr std::string_view docker_manifest = "application/vnd.docker.distribution.manifest.v2+json";
constexpr std::string_view docker_list = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr std::string_view oci_manifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view oci_index = "application/vnd.oci.image.index.v1+json";
constexpr std::array schema1 = {std::string_view("application/vnd.docker.distribution.manifest.v1+json"),
                                std::string_view("application/vnd.docker.distribution.manifest.v1+prettyjws")};

tl::unexpected<error> bad(std::string message) {
  return fail(errc::invalid_argument, std::move(message));
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Only what images are made of; beside exact names, their forms with a suffix (".gzip", "+zstd").
bool image_media_type(const std::string& type) {
  static constexpr std::array<std::string_view, 4> known = {"application/vnd.docker.container.image",
                                                            "application/vnd.docker.image.rootfs",
                                                            "application/vnd.oci.image", "application/octet-stream"};
  const auto name = lower(type);
  return std::any_of(known.begin(), known.end(),
                     [&](std::string_view k) { return name == k || name.starts_with(std::string(k) + '.'); });
}

result<descriptor> read_descriptor(const json& value, const char* what) {
  if (!value.is_object()) return bad(std::string("invalid ") + what + " descriptor in the manifest");
  descriptor out;
  out.media_type = text_of(value, "mediaType");
  out.digest = text_of(value, "digest");
  if (auto ok = parse_digest(out.digest); !ok)
    return bad(std::string("could not validate ") + what + " digest " + go_quote(out.digest) + ": " +
               ok.error().message());
  if (!out.digest.starts_with("sha256:")) return bad("unsupported digest algorithm");
  const auto size = value.find("size");
  if (size == value.end() || !size->is_number_unsigned())
    return bad(std::string("invalid size of ") + what + ' ' + out.digest + " in the manifest");
  out.size = size->get<uint64_t>();
  if (const auto p = value.find("platform"); p != value.end() && p->is_object())
    out.platform = {text_of(*p, "os"), text_of(*p, "architecture"), text_of(*p, "variant")};
  return out;
}

result<std::vector<descriptor>> read_list(const json& document, const char* key, const char* what) {
  std::vector<descriptor> out;
  const auto found = document.find(key);
  if (found == document.end() || found->is_null()) return out;
  if (!found->is_array()) return bad(std::string("invalid list of ") + key + " in the manifest");
  for (const auto& item : *found) {
    ARCA_TRY(entry, read_descriptor(item, what));
    out.push_back(std::move(entry));
  }
  return out;
}

// Parses and refuses a document whose top level names a key twice.
result<json> parse_unambiguous(std::string_view body) {
  std::set<std::string> keys;
  bool twice = false;
  auto document = json::parse(
      body.begin(), body.end(),
      [&](int depth, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::key && depth == 1 && value.is_string())
          twice = !keys.insert(value.get<std::string>()).second || twice;
        return true;
      },
      false);
  if (document.is_discarded() || !document.is_object())
    return bad("unsupported manifest format: the answer is not a JSON object");
  if (twice) return bad("ambiguous manifest: a key is given twice");
  return document;
}

result<void> check_media_types(const manifest& m) {
  const auto& config = m.config.media_type;
  if (config == "application/vnd.docker.plugin.v1+json")
    return bad("Encountered remote " + go_quote(config) + "(plugin) when fetching");
  if (!image_media_type(config)) return bad("unsupported media type " + config);
  for (const auto& layer : m.layers)
    if (!image_media_type(layer.media_type)) return bad("unsupported media type " + layer.media_type);
  return {};
}

std::string normal_architecture(const std::string& a) {
  const auto name = lower(a);
  if (name == "x86_64" || name == "x86-64") return "amd64";
  if (name == "aarch64") return "arm64";
  if (name == "i386") return "386";
  return name;
}

// How well `have` serves `want`: 0 not at all, more is better.
int rank(const platform_spec& want, const platform_spec& have) {
  if (lower(want.os.empty() ? "linux" : want.os) != lower(have.os)) return 0;
  const auto architecture = normal_architecture(want.architecture);
  if (architecture != normal_architecture(have.architecture)) return 0;
  const auto variant = [&](const platform_spec& p) {
    const auto v = lower(p.variant);
    if (architecture == "arm64" && (v == "v8" || v == "8")) return std::string();
    if (architecture == "amd64" && v == "v1") return std::string();
    if (architecture == "arm" && v.empty()) return std::string("v7");
    return v;
  };
  const auto wanted = variant(want), found = variant(have);
  if (wanted == found) return 100;
  if (found.empty()) return 50;
  // A newer machine runs code for an older one: arm v7 takes v6, amd64 v3 takes v2.
  if (wanted.size() == 2 && found.size() == 2 && found[1] < wanted[1]) return 50 + (found[1] - '0');
  return 0;
}
}  // namespace

std::string platform_spec::text() const {
  std::string out = os.empty() ? "unknown" : os;
  if (!architecture.empty()) out += '/' + architecture;
  if (!variant.empty()) out += '/' + variant;
  return out;
}

std::string manifest_accept() {
  std::string out;
  for (const auto type : {docker_manifest, docker_list, oci_manifest, oci_index}) {
    if (!out.empty()) out += ", ";
    out += type;
  }
  return out;
}

result<manifest> parse_manifest(std::string_view body, std::string_view content_type) {
  const std::string served = lower(content_type.substr(0, content_type.find(';')));
  const auto known = [](const std::string& t) {
    return t == docker_manifest || t == docker_list || t == oci_manifest || t == oci_index;
  };
  if (served == "text/html")
    return bad("unsupported manifest format: the registry answered with a page (text/html), not with a manifest");
  ARCA_TRY(document, parse_unambiguous(body));
  manifest out;
  out.media_type = text_of(document, "mediaType");
  const auto version = document.find("schemaVersion");
  const bool old = version != document.end() && version->is_number_integer() && *version == 1;
  if (old || std::find(schema1.begin(), schema1.end(), served) != schema1.end())
    return bad(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will "
        "be removed in an upcoming release. Upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. "
        "More information at https://docs.docker.com/go/deprecated-image-specs/");
  if (version == document.end() || !version->is_number_integer() || *version != 2)
    return bad("unsupported manifest format");
  if (!out.media_type.empty() && known(served) && served != out.media_type)
    return bad("ambiguous manifest: served as " + served + ", but it says " + out.media_type);
  if (out.media_type.empty()) out.media_type = served;
  if (!known(out.media_type)) {
    // OCI lets mediaType away; then the content says what it is.
    if (!out.media_type.empty() && out.media_type != "application/json" &&
        out.media_type != "application/octet-stream" && out.media_type != "text/plain")
      return bad("unsupported media type " + out.media_type);
    out.media_type = document.contains("manifests") ? oci_index : oci_manifest;
  }
  out.index = out.media_type == docker_list || out.media_type == oci_index;
  const bool has_image_parts =
      document.contains("layers") || document.contains("config") || document.contains("fsLayers");
  if (out.index ? has_image_parts : document.contains("manifests"))
    return bad("ambiguous manifest: it has the parts of an image and of an index");
  if (out.index) {
    ARCA_TRY(manifests, read_list(document, "manifests", "manifest"));
    out.manifests = std::move(manifests);
    return out;
  }
  ARCA_TRY(config, read_descriptor(document.value("config", json()), "config"));
  out.config = std::move(config);
  ARCA_TRY(layers, read_list(document, "layers", "layer"));
  out.layers = std::move(layers);
  if (out.layers.size() > max_layers) return bad("the image has more than " + std::to_string(max_layers) + " layers");
  ARCA_CHECK(check_media_types(out));
  return out;
}

result<descriptor> select_platform(const manifest& index, const platform_spec& wanted) {
  const descriptor* best = nullptr;
  int best_rank = 0;
  for (const auto& entry : index.manifests) {
    const int r = rank(wanted, entry.platform);
    if (r > best_rank) {
      best = &entry;
      best_rank = r;
    }
  }
  if (best == nullptr)
    return fail(errc::not_found, "no matching manifest for " + wanted.text() + " in the manifest list entries");
  return *best;
}

}  // namespace arca::registry
