// First half of loading: takes an image archive's members as they come. Layers are unpacked at once into uncommitted
// writers; documents are kept in memory, bounded; links are remembered by name only and never followed on disk.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "persistence/archive/member_reader.hpp"
#include "persistence/base/unique_fd.hpp"
#include "persistence/images/image_archive.hpp"

namespace arca::images {

class archive_members {
 public:
  archive_members(layer_store& layers, const load_options& options) : layers_(layers), options_(options) {}

  /// Reads the archive to its end.
  result<void> read(const archive::byte_source& source);

  /// A document by its name in the archive.
  const std::string* document(const std::string& name) const;
  /// A member that is (or, by links inside the archive, stands for) a layer.
  struct layer {
    std::shared_ptr<layer_writer> writer;  ///< finished, not committed; nullptr: the store has the layer `diff_id`
    std::string diff_id, blob_digest;
  };
  /// errc::not_found: no such member.
  result<layer> layer_of(const std::string& name);
  bool has(const std::string& name) const;

 private:
  result<void> take_file(archive::member_reader& reader, const archive::member_header& header);
  result<void> take_layer(archive::member_reader& reader, const archive::member_header& header, std::string head);
  result<void> unpack(const std::string& name, const archive::byte_source& bytes);
  result<bool> is_here(const std::string& name, const archive::byte_source& bytes, unique_fd& kept);
  result<void> settle(size_t leave);

  layer_store& layers_;
  const load_options& options_;
  std::map<std::string, std::string> documents_;
  std::map<std::string, layer> found_;
  std::map<std::string, std::string> links_;  // name → name, both cleaned
  std::deque<std::string> unfinished_;        // names in found_ whose writer still works
  uint64_t document_bytes_ = 0, spooled_ = 0;
};

}  // namespace arca::images
