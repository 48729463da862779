// Images as one tar stream. load() reads what docker, podman, skopeo and buildx write: docker-archive (manifest.json;
// old layout with ID/layer.tar, new one with blobs/sha256) and OCI layout (index.json), the whole or single layers
// compressed or not, members in any order. save() writes what Docker 28 writes: both layouts in one archive.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "persistence/archive/stream.hpp"
#include "persistence/images/layer_store.hpp"
#include "persistence/images/platform.hpp"

namespace arca::images {

/// An image whose layers are in the store and whose config was checked against them.
struct loaded_image {
  std::string id;                      ///< "sha256:…": digest of `config`
  std::string config;                  ///< the image config's JSON, byte for byte
  std::vector<std::string> repo_tags;  ///< as the archive names it, "busybox:latest"; empty: untagged
  std::vector<std::string> diff_ids;   ///< lowest first
  std::vector<std::string> chain_ids;
  std::string manifest;  ///< OCI or schema 2 manifest it came with; empty for plain docker-archives
  std::string manifest_digest;
};

struct load_progress {
  std::string layer;     ///< diff id or digest, without "sha256:", 12 digits
  uint64_t current = 0;  ///< bytes of the archive member taken so far
  uint64_t total = 0;
  bool done = false;
};

struct load_options {
  platform wanted;                    ///< others are passed over; empty: of an index this machine's, else the only one
  uint64_t max_document = 16u << 20;  ///< bytes of one JSON document
  uint64_t max_documents = 256u << 20;  ///< of all JSON documents and unclaimed small members together
  uint64_t max_spool = uint64_t{256} << 30;
  std::function<void(const load_progress&)> on_progress;
};

/// Reads the archive to its end. Layers are unpacked while the archive is read where their place is known from the name
/// or from the manifest; else they are spooled below the store's folder. Layers of an archive that fails are removed
/// again unless they were there before. Error texts are Docker's.
result<std::vector<loaded_image>> load(layer_store& layers, const archive::byte_source& source,
                                       const load_options& options = {});

/// An image to write. `config` is the stored JSON, its layers are in the store.
struct saved_image {
  std::string config;
  std::vector<std::string> references;  ///< familiar names, "busybox:latest"; empty: by id, no tags inside
};

/// Writes the archive. Each layer and config once. With no image: Docker's empty archive.
result<void> save(const layer_store& layers, const std::vector<saved_image>& images, const archive::byte_sink& sink);

struct import_options {
  platform target;             ///< empty: this machine's
  std::string message;         ///< history comment; Docker's default is "Imported from -"
  std::string config;          ///< JSON of the `config` object (the changes applied); empty: "{}"
  int64_t created = 0;         ///< unix nanoseconds; 0: now
  std::string docker_version;  ///< written into the image config
};

/// A root file system (tar, compressed or not) as an image with one layer.
result<loaded_image> import(layer_store& layers, const archive::byte_source& source, const import_options& options);

}  // namespace arca::images
