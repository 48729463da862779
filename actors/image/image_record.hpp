// An image as the catalog keeps it: its config document and what follows from it.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "actors/protocol/state_store.hpp"
#include "persistence/base/error.hpp"
#include "persistence/images/image_archive.hpp"

namespace arca {

struct image_record {
  std::string id;                      ///< "sha256:…", the digest of the config document
  std::string parent;                  ///< image it was built on, on this host; empty after a pull
  nlohmann::json document;             ///< the whole image config
  std::vector<std::string> diff_ids;   ///< lowest first
  std::vector<std::string> chain_ids;  ///< lowest first
  images::platform platform;
  std::string created_text;  ///< as in the document; empty if it has none
  int64_t created = 0;       ///< unix nanoseconds
  bool has_created = false;
  int64_t last_tagged = 0;      ///< unix nanoseconds, 0 never: Metadata.LastTagTime
  std::string manifest_digest;  ///< in the blob store; empty when it came without one

  /// The document's `config` object, null when it has none.
  const nlohmann::json& config() const;
  std::map<std::string, std::string> labels() const;
};

using image_ptr = std::shared_ptr<const image_record>;

/// Reads a config document. errc::invalid_argument: it is no JSON object, has parts of a wrong type, or its rootfs is
/// not made of layers.
result<image_record> parse_image(const std::string& id, const std::string& document_text);

/// The row of table `images`; the document itself lies in the blob store under `id`.
row_change image_row(const image_record& record);
/// What the row adds to the document: parent, last_tagged, manifest_digest.
result<void> apply_image_row(image_record& record, const std::string& row_document);

}  // namespace arca
