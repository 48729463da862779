// Manifests and indexes as registries serve them: Docker schema 2 and OCI. What could be read in two ways is refused
// (CVE-2021-41190).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::registry {

inline constexpr size_t max_document = 4u << 20;  ///< bytes of a manifest, index, config or token answer
inline constexpr size_t max_layers = 500;         ///< what an overlay mount takes

struct platform_spec {
  std::string os, architecture, variant;
  std::string text() const;  ///< "linux/arm64/v8"
};

struct descriptor {
  std::string media_type, digest;
  uint64_t size = 0;
  platform_spec platform;  ///< of an index's entry; empty when not given
};

struct manifest {
  bool index = false;
  std::string media_type;
  descriptor config;                  ///< of an image
  std::vector<descriptor> layers;     ///< of an image, lowest first
  std::vector<descriptor> manifests;  ///< of an index
};

/// `content_type` is the HTTP header's. errc::invalid_argument: no manifest, an ambiguous one, or one with a kind of
/// content that no image has ("unsupported media type X").
result<manifest> parse_manifest(std::string_view body, std::string_view content_type);

/// The entry for a platform, the closest variant first. errc::not_found "no matching manifest for linux/s390x in the
/// manifest list entries".
result<descriptor> select_platform(const manifest& index, const platform_spec& wanted);

/// Value of the Accept header for manifests and indexes.
std::string manifest_accept();

}  // namespace arca::registry
