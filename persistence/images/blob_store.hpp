// DATA_ROOT/blobs/sha256/<hex>: manifests and image configs, by digest. Layers are not kept compressed; see
// layer_store. Thread-safe: a blob never changes, and appears by rename.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::images {

class blob_store {
 public:
  /// `folder` is DATA_ROOT/blobs. Left-over temporary files are removed.
  static result<blob_store> open(std::string folder);

  /// Stores `data`, on disk when this returns; gives its digest ("sha256:…"). With `expected`, other content is
  /// errc::invalid_argument and nothing is kept.
  result<std::string> put(std::string_view data, std::string_view expected = {});
  /// errc::not_found: no such blob. The content is checked: a damaged file is errc::internal and is set aside.
  result<std::string> get(std::string_view digest) const;
  bool has(std::string_view digest) const;
  /// A missing blob is success.
  result<void> remove(std::string_view digest);
  /// Digests of all blobs, sorted.
  std::vector<std::string> list() const;

 private:
  explicit blob_store(std::string folder) : folder_(std::move(folder)) {}
  std::string path_of(std::string_view digest) const;
  std::string folder_;
};

}  // namespace arca::images
