// docker save and docker import.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "persistence/archive/tar_writer.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/archive_documents.hpp"
#include "persistence/images/image_archive.hpp"

namespace arca::images {
namespace {

using json = nlohmann::ordered_json;
constexpr const char* layer_type = "application/vnd.oci.image.layer.v1.tar";

std::string dump(const json& j) {
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// One file of the archive: a text, or a layer to be read from the store.
struct content {
  std::string text, chain_id;
  uint64_t size = 0;
  int64_t mtime = 0;
};

json go_container_config() {
  return {{"Hostname", ""},       {"Domainname", ""},      {"User", ""},
          {"AttachStdin", false}, {"AttachStdout", false}, {"AttachStderr", false},
          {"Tty", false},         {"OpenStdin", false},    {"StdinOnce", false},
          {"Env", nullptr},       {"Cmd", nullptr},        {"Image", ""},
          {"Volumes", nullptr},   {"WorkingDir", ""},      {"Entrypoint", nullptr},
          {"OnBuild", nullptr},   {"Labels", nullptr}};
}

class saver {
 public:
  saver(const layer_store& layers, const archive::byte_sink& sink) : layers_(layers), writer_(sink) {}

  result<void> run(const std::vector<saved_image>& images) {
    json manifests = json::array(), items = json::array();
    std::map<std::string, std::map<std::string, std::string>> repositories;
    for (const auto& image : images) ARCA_CHECK(add(image, manifests, items, repositories));
    if (!blobs_.empty()) {
      ARCA_CHECK(folder("blobs"));
      ARCA_CHECK(folder("blobs/sha256"));
      for (const auto& [hex, blob] : blobs_) ARCA_CHECK(put("blobs/sha256/" + hex, blob));
    }
    ARCA_CHECK(put_text("index.json", dump({{"schemaVersion", 2},
                                            {"mediaType", "application/vnd.oci.image.index.v1+json"},
                                            {"manifests", images.empty() ? json() : manifests}})));
    ARCA_CHECK(put_text("manifest.json", dump(images.empty() ? json() : items) + "\n"));
    ARCA_CHECK(put_text("oci-layout", R"({"imageLayoutVersion": "1.0.0"})"));
    if (!repositories.empty()) ARCA_CHECK(put_text("repositories", dump(json(repositories)) + "\n"));
    return writer_.finish();
  }

 private:
  result<void> add(const saved_image& image, json& manifests, json& items,
                   std::map<std::string, std::map<std::string, std::string>>& repositories) {
    ARCA_TRY(summary, parse_config(image.config));
    const auto chains = chain_ids(summary.diff_ids);
    const json config = json::parse(image.config, nullptr, false);
    int64_t created = 0;
    if (const auto c = config.find("created"); c != config.end() && c->is_string())
      if (!parse_rfc3339(c->get<std::string>(), created)) created = 0;
    const int64_t mtime = std::max<int64_t>(created / 1'000'000'000, 0);
    newest_ = std::max(newest_, mtime);

    json layers = json::array(), names = json::array(), sources = json::object();
    std::map<std::string, json> sorted_sources;
    std::string parent;
    for (size_t i = 0; i < chains.size(); ++i) {
      const auto info = layers_.find(chains[i]);
      if (!info) return fail(errc::not_found, "layer does not exist: " + chains[i]);
      const std::string hex = hex_of(info->diff_id);
      blobs_.try_emplace(hex, content{{}, chains[i], info->tar_size, mtime});
      const json descriptor{{"mediaType", layer_type}, {"digest", info->diff_id}, {"size", info->tar_size}};
      layers.push_back(descriptor);
      names.push_back("blobs/sha256/" + hex);
      sorted_sources[info->diff_id] = {{"mediaType", layer_type}, {"size", info->tar_size}, {"digest", info->diff_id}};
      parent = legacy_layer(config, chains[i], parent, i + 1 == chains.size(), mtime);
    }
    for (const auto& [digest, source] : sorted_sources) sources[digest] = source;

    const std::string id = digest_of(image.config);
    add_text(image.config, mtime);
    const std::string manifest = dump(
        {{"schemaVersion", 2},
         {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
         {"config",
          {{"mediaType", "application/vnd.oci.image.config.v1+json"}, {"digest", id}, {"size", image.config.size()}}},
         {"layers", layers}});
    add_text(manifest, 0);
    const json untagged{{"mediaType", "application/vnd.oci.image.manifest.v1+json"},
                        {"digest", digest_of(manifest)},
                        {"size", manifest.size()}};
    json tags = json::array();
    for (const auto& reference : image.references) {
      const size_t slash = reference.rfind('/');
      const size_t colon = reference.find(':', slash == std::string::npos ? 0 : slash);
      if (colon == std::string::npos || reference.find('@') != std::string::npos) continue;  // a digest names no tag
      const std::string tag = reference.substr(colon + 1);
      json tagged = untagged;
      tagged["annotations"] = {{"io.containerd.image.name", full_reference(reference)},
                               {"org.opencontainers.image.ref.name", tag}};
      manifests.push_back(std::move(tagged));
      tags.push_back(reference);
      if (!summary.diff_ids.empty()) repositories[reference.substr(0, colon)][tag] = hex_of(summary.diff_ids.back());
    }
    if (tags.empty()) manifests.push_back(untagged);
    items.push_back({{"Config", "blobs/sha256/" + hex_of(id)},
                     {"RepoTags", tags.empty() ? json() : tags},
                     {"Layers", names},
                     {"LayerSources", sources}});
    return {};
  }

  /// Docker still adds the v1 JSON of every layer as a blob. Returns its id.
  std::string legacy_layer(const json& config, const std::string& chain, const std::string& parent, bool top,
                           int64_t mtime) {
    const auto of_image = [&](const char* key, json fallback) {
      const auto found = config.find(key);
      return found == config.end() ? fallback : *found;
    };
    json v1{{"created", top ? of_image("created", "1970-01-01T00:00:00Z") : json("1970-01-01T00:00:00Z")},
            {"container_config", go_container_config()}};
    if (top) {
      json full = go_container_config();
      if (const auto own = config.find("config"); own != config.end() && own->is_object())
        for (const auto& [key, value] : own->items()) full[key] = value;
      v1["config"] = std::move(full);
      v1["architecture"] = of_image("architecture", "");
    }
    v1["os"] = of_image("os", "linux");
    sha256 hash;
    hash.update(dump(v1) + chain + parent);
    const std::string id = hash.hex();
    json named{{"id", id}};
    if (!parent.empty()) named["parent"] = parent;
    for (auto& [key, value] : v1.items()) named[key] = value;
    add_text(dump(named), mtime);
    return id;
  }

  void add_text(const std::string& text, int64_t mtime) {
    blobs_.try_emplace(hex_of(digest_of(text)), content{text, {}, text.size(), mtime});
  }

  result<void> folder(const std::string& name) {
    archive::member m;
    m.name = name;
    m.type = archive::member::kind::folder;
    m.mode = 0755;
    m.mtime = newest_;
    return writer_.add(std::move(m), {});
  }

  result<void> put(const std::string& name, const content& c) {
    archive::member m;
    m.name = name;
    m.size = c.size;
    m.mtime = c.mtime;
    if (c.chain_id.empty()) return writer_.add(std::move(m), c.text);
    ARCA_CHECK(writer_.begin(m));
    return layers_.read_tar(c.chain_id, [this](std::string_view bytes) { return writer_.write(bytes); });
  }

  result<void> put_text(const std::string& name, std::string text) {
    const uint64_t size = text.size();
    return put(name, {std::move(text), {}, size, 0});
  }

  const layer_store& layers_;
  archive::tar_writer writer_;
  std::map<std::string, content> blobs_;  // by hex digest
  int64_t newest_ = 0;
};

}  // namespace

result<void> save(const layer_store& layers, const std::vector<saved_image>& images, const archive::byte_sink& sink) {
  saver run(layers, sink);
  return run.run(images);
}

result<loaded_image> import(layer_store& layers, const archive::byte_source& source, const import_options& options) {
  ARCA_TRY(writer, layers.begin());
  for (;;) {
    ARCA_TRY(piece, source());
    if (piece.empty()) break;
    ARCA_CHECK(writer->feed(piece));
  }
  ARCA_CHECK(writer->finish());
  const std::string diff_id = writer->info().diff_id;

  const platform target = options.target.empty() ? host_platform() : options.target;
  const std::string created = rfc3339_nano(options.created == 0 ? now_nanos() : options.created);
  const std::string comment = options.message.empty() ? "Imported from -" : options.message;
  json config{{"architecture", target.architecture}};
  if (!target.variant.empty()) config["variant"] = target.variant;
  config["comment"] = comment;
  json own = options.config.empty() ? json::object() : json::parse(options.config, nullptr, false);
  if (!own.is_object()) return fail(errc::invalid_argument, "import: config is no JSON object");
  config["config"] = std::move(own);
  config["created"] = created;
  if (!options.docker_version.empty()) config["docker_version"] = options.docker_version;
  config["history"] = json::array({{{"created", created}, {"comment", comment}}});
  config["os"] = target.os;
  config["rootfs"] = {{"type", "layers"}, {"diff_ids", json::array({diff_id})}};

  ARCA_TRY(layer, writer->commit(diff_id));
  loaded_image image;
  image.config = dump(config);
  image.id = digest_of(image.config);
  image.diff_ids = {diff_id};
  image.chain_ids = {layer.chain_id};
  return image;
}

}  // namespace arca::images
