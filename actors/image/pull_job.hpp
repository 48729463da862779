// The blocking part of docker pull: asks the registry, fetches the layers that are missing in parallel, each of them
// downloaded, hashed, inflated and unpacked at the same time, and has the catalog record the image. Runs on threads of
// its own; progress goes to the output, the catalog is asked through `catalog`.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "actors/image/progress.hpp"
#include "persistence/images/blob_store.hpp"
#include "persistence/images/image_archive.hpp"
#include "persistence/images/layer_store.hpp"
#include "persistence/registry/client.hpp"

namespace arca {

/// An image whose layers and documents are on disk, to be recorded.
struct arrived_image {
  registry::reference name;
  std::string id;               ///< "sha256:…"
  std::string document;         ///< the config; empty: the catalog has the image already
  std::string manifest_digest;  ///< what the name resolved to: of the index, if it is one
  std::string stored_manifest;  ///< digest of the image's own manifest in the blob store
};

/// What the job needs of the catalog; called on the job's threads, may wait.
struct catalog_access {
  /// Id of the image that NAME@DIGEST is here and that serves the platform; empty if there is none.
  std::function<result<std::string>(const registry::reference&, const std::string& digest, const images::platform&)>
      known;
  /// Is there an image with this id?
  std::function<result<bool>(const std::string& id)> has;
  /// Records it, on disk when this returns. True: something is new (a name or an image). errc::gone: the image that was
  /// here has just been removed.
  std::function<result<bool>(const arrived_image&)> record;
  /// After the last line but one: event "pull"; a text for a warning line, or empty.
  std::function<result<std::string>(const registry::reference&, const images::platform&)> pulled;
};

struct pull_request {
  registry::reference name;   ///< a bare name pulls every tag
  images::platform platform;  ///< empty: this machine's
  registry::credentials who;
};

class pull_job {
 public:
  pull_job(pull_request request, registry::client_options options, std::shared_ptr<images::layer_store> layers,
           std::shared_ptr<images::blob_store> blobs, catalog_access catalog, std::shared_ptr<progress_output> output);
  ~pull_job();

  /// Does it all, to the last line of the output. Never throws.
  void run() noexcept;
  void cancel() noexcept;  ///< any thread

 private:
  struct impl;
  std::unique_ptr<impl> self_;
};

}  // namespace arca
