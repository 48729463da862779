// The JSON of image archives, read with suspicion: manifest.json, OCI index and manifest, image config.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/images/platform.hpp"

namespace arca::images {

/// One image of manifest.json.
struct archive_item {
  std::string config;
  std::vector<std::string> repo_tags, layers;
};
/// Error texts are those of Go's decoder where it has simple ones ("unexpected EOF").
result<std::vector<archive_item>> parse_docker_manifest(const std::string& text);

struct descriptor {
  std::string media_type, digest;
  uint64_t size = 0;
  std::optional<platform> runs_on;
  std::string name;          ///< annotation io.containerd.image.name, else org.opencontainers.image.ref.name
  bool attestation = false;  ///< BuildKit's: no image
  bool is_index() const;
};
/// An index (`is_index`) or a manifest; both at once is refused (CVE-2021-41190).
struct oci_document {
  bool is_index = false;
  std::vector<descriptor> manifests;
  descriptor config;
  std::vector<descriptor> layers;
};
result<oci_document> parse_oci(const std::string& text);

struct config_summary {
  std::vector<std::string> diff_ids;
  platform runs_on;
};
result<config_summary> parse_config(const std::string& text);

/// How Go's encoding/json would complain about this text; empty when it is JSON.
std::string json_complaint(const std::string& text);

/// "busybox" → "docker.io/library/busybox" and so on; a tag or digest stays.
std::string full_reference(const std::string& familiar);
/// The reverse: "docker.io/library/busybox:1" → "busybox:1".
std::string familiar_reference(const std::string& full);

}  // namespace arca::images
