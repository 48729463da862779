// Second half of loading: documents and unpacked layers become images.
#include <algorithm>
#include <set>

#include "persistence/archive/names.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/images/archive_documents.hpp"
#include "persistence/images/archive_members.hpp"
#include "persistence/images/image_archive.hpp"

namespace arca::images {
namespace {

class loader {
 public:
  loader(layer_store& layers, const load_options& options)
      : layers_(layers), options_(options), members_(layers, options) {
    // Docker unpacks the archive to a folder and its messages name it; ours name where it would be.
    data_root_ = layers.folder().substr(0, layers.folder().rfind('/'));
    folder_ = data_root_ + "/tmp/docker-import-" + std::to_string(now_nanos() % 1'000'000'000);
  }

  result<std::vector<loaded_image>> run(const archive::byte_source& source) {
    auto done = [&]() -> result<void> {
      ARCA_CHECK(members_.read(source));
      if (const auto* manifest = members_.document("manifest.json")) {
        ARCA_CHECK(docker(*manifest));
      } else if (const auto* index = members_.document("index.json")) {
        ARCA_CHECK(oci(*index));
      } else {
        return missing("repositories");
      }
      // Docker Engine says nothing, and the user finds no image.
      if (images_.empty() && passed_over_)
        return fail(errc::not_found, "no suitable image found for platform " + to_string(options_.wanted));
      return {};
    }();
    if (done) return std::move(images_);
    for (auto chain = committed_.rbegin(); chain != committed_.rend(); ++chain)
      if (auto removed = layers_.remove(*chain); !removed)
        log::warn("cannot remove layer", log::kv("chain_id", *chain), log::kv("error", removed.error().message()));
    return fail(done.error());
  }

 private:
  tl::unexpected<error> missing(const std::string& name) const {
    return fail(errc::not_found, "open " + folder_ + "/" + name + ": no such file or directory");
  }

  /// A name that manifest.json gives, as a member's name; one that leads out of the archive is refused like Docker
  /// does.
  result<std::string> member_name(const std::string& given) const {
    const auto parts = archive::split_name(given, 64);
    if (parts) return archive::join(*parts);
    const std::string from_root = "/" + data_root_ + "/tmp/x/" + given;
    const auto outside = archive::split_name(from_root, 512);
    return fail(errc::invalid_argument,
                "evalSymlinksInScope: /" + (outside ? archive::join(*outside) : given) + " is not in " + folder_);
  }

  result<void> docker(const std::string& text) {
    ARCA_TRY(items, parse_docker_manifest(text));
    for (auto& item : items) {
      ARCA_TRY(config_name, member_name(item.config));
      const auto* config = members_.document(config_name);
      if (config == nullptr) return missing(item.config);
      ARCA_TRY(summary, parse_config(*config));
      if (summary.diff_ids.size() != item.layers.size())
        return fail(errc::invalid_argument, "invalid manifest, layers length mismatch: expected " +
                                                std::to_string(item.layers.size()) + ", got " +
                                                std::to_string(summary.diff_ids.size()));
      ARCA_CHECK(check_os(summary.runs_on));
      std::vector<std::string> names;
      for (const auto& layer : item.layers) {
        ARCA_TRY(name, member_name(layer));
        names.push_back(std::move(name));
      }
      ARCA_CHECK(add(*config, summary, names, std::move(item.repo_tags), {}));
    }
    return {};
  }

  result<void> oci(const std::string& text) {
    ARCA_TRY(index, parse_oci(text));
    if (!index.is_index) return fail(errc::invalid_argument, "index.json is no index");
    for (const auto& top : index.manifests) {
      if (top.attestation) continue;
      std::set<std::string> seen;
      ARCA_TRY(manifest, choose(top, seen));
      if (manifest.empty()) continue;
      ARCA_CHECK(oci_manifest(manifest, top.name));
    }
    return {};
  }

  const std::string* blob(const std::string& digest) const {
    return members_.document("blobs/sha256/" + hex_of(digest));
  }

  result<std::string> document(const descriptor& d) const {
    const auto* text = blob(d.digest);
    if (text == nullptr) return missing("blobs/sha256/" + hex_of(d.digest));
    if (digest_of(*text) != d.digest)
      return fail(errc::invalid_argument, "image archive: content of " + d.digest + " has another digest");
    return *text;
  }

  /// The manifest to load for a descriptor: itself, or of an index the one for the wanted platform. Empty: none.
  result<std::string> choose(const descriptor& from, std::set<std::string>& seen) {
    if (!seen.insert(from.digest).second || seen.size() > 64)
      return fail(errc::invalid_argument, "image archive: index refers to itself");
    // A multi-platform archive may carry only some of its manifests.
    if (blob(from.digest) == nullptr && seen.size() > 1) return std::string();
    ARCA_TRY(text, document(from));
    ARCA_TRY(parsed, parse_oci(text));
    if (!parsed.is_index) return from.digest;
    const platform wanted = options_.wanted.empty() ? host_platform() : options_.wanted;
    std::vector<descriptor> candidates;
    for (const auto& d : parsed.manifests)
      if (!d.attestation && !(d.runs_on && d.runs_on->os == "unknown")) candidates.push_back(d);
    // The wanted platform first; without a wish, the only one there is will do.
    std::stable_sort(candidates.begin(), candidates.end(),
                     [&](const descriptor& a, const descriptor& b) { return rank(a, wanted) < rank(b, wanted); });
    for (const auto& d : candidates) {
      const bool fits = !d.runs_on || d.is_index() || matches(wanted, *d.runs_on);
      if (!fits && (!options_.wanted.empty() || candidates.size() > 1)) continue;
      ARCA_TRY(found, choose(d, seen));
      if (!found.empty()) return found;
    }
    passed_over_ = passed_over_ || !options_.wanted.empty();
    return std::string();
  }

  static int rank(const descriptor& d, const platform& wanted) {
    if (!d.runs_on) return 1;
    if (!matches(wanted, *d.runs_on)) return 2;
    return d.runs_on->variant == wanted.variant ? -1 : 0;
  }

  result<void> oci_manifest(const std::string& digest, const std::string& name) {
    const std::string& text = *blob(digest);
    ARCA_TRY(manifest, parse_oci(text));
    ARCA_TRY(config, document(manifest.config));
    ARCA_TRY(summary, parse_config(config));
    if (summary.diff_ids.size() != manifest.layers.size())
      return fail(errc::invalid_argument, "invalid manifest, layers length mismatch: expected " +
                                              std::to_string(manifest.layers.size()) + ", got " +
                                              std::to_string(summary.diff_ids.size()));
    ARCA_CHECK(check_os(summary.runs_on));
    std::vector<std::string> names, tags;
    for (const auto& layer : manifest.layers) names.push_back("blobs/sha256/" + hex_of(layer.digest));
    // A bare tag ("latest") is no name of an image.
    if (name.find_first_of("/:") != std::string::npos) tags.push_back(familiar_reference(name));
    return add(config, summary, names, std::move(tags), digest);
  }

  static result<void> check_os(const platform& p) {
    if (p.os.empty() || p.os == "linux") return {};
    return fail(errc::unsupported, "cannot load " + p.os + " image on linux");
  }

  result<void> add(const std::string& config, const config_summary& summary, const std::vector<std::string>& names,
                   std::vector<std::string> tags, const std::string& manifest_digest) {
    if (!options_.wanted.empty() && !matches(options_.wanted, summary.runs_on)) {
      passed_over_ = true;
      return {};
    }
    loaded_image image;
    image.config = config;
    image.id = digest_of(config);
    image.repo_tags = std::move(tags);
    image.diff_ids = summary.diff_ids;
    image.chain_ids = chain_ids(summary.diff_ids);
    if (!manifest_digest.empty()) {
      image.manifest_digest = manifest_digest;
      image.manifest = *blob(manifest_digest);
    }
    for (size_t i = 0; i < names.size(); ++i) ARCA_CHECK(place(names[i], i, image.diff_ids[i], image.chain_ids[i]));
    // The same image under another name.
    for (auto& other : images_)
      if (other.id == image.id) {
        for (auto& tag : image.repo_tags)
          if (std::find(other.repo_tags.begin(), other.repo_tags.end(), tag) == other.repo_tags.end())
            other.repo_tags.push_back(std::move(tag));
        return {};
      }
    images_.push_back(std::move(image));
    return {};
  }

  /// Makes the layer visible at its place in the chain.
  result<void> place(const std::string& name, size_t index, const std::string& diff_id, const std::string& chain_id) {
    if (const auto there = layers_.find(chain_id); there && there->diff_id == diff_id) return {};
    auto found = members_.layer_of(name);
    if (!found) {
      if (found.error().code() == errc::not_found) return missing(name);
      return fail(found.error());
    }
    if (found->diff_id != diff_id)
      return fail(errc::invalid_argument, "invalid diffID for layer " + std::to_string(index) + ": expected " +
                                              go_quote(diff_id) + ", got " + go_quote(found->diff_id));
    auto writer = found->writer;
    if (!writer || !writer->info().chain_id.empty()) {
      // The member's unpacked form is in use (or was never made, the store had it): unpack once more from there.
      const auto source = layers_.find_diff(diff_id);
      if (!source) return fail(errc::unavailable, "layer " + diff_id + " was removed meanwhile");
      ARCA_TRY(copy, layers_.begin({{}, 0, diff_id, {}}));
      ARCA_CHECK(layers_.read_tar(source->chain_id, [&](std::string_view bytes) { return copy->feed(bytes); }));
      ARCA_CHECK(copy->finish());
      writer = std::move(copy);
    }
    ARCA_CHECK(writer->commit(chain_id));
    committed_.push_back(chain_id);
    return {};
  }

  layer_store& layers_;
  const load_options& options_;
  archive_members members_;
  std::string data_root_, folder_;
  std::vector<loaded_image> images_;
  std::vector<std::string> committed_;
  bool passed_over_ = false;  ///< an image for another platform
};

}  // namespace

result<std::vector<loaded_image>> load(layer_store& layers, const archive::byte_source& source,
                                       const load_options& options) {
  loader run(layers, options);
  return run.run(source);
}

}  // namespace arca::images
