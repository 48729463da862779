// meta.json of a layer folder.
#pragma once
#include <string>
#include <vector>

#include "persistence/images/layer_store.hpp"
#include "persistence/images/tar_log.hpp"

namespace arca::images {

struct layer_meta {
  layer_info info;  ///< diff_dir is not stored
  std::vector<replaced_file> replaced;
  bool synced = false;  ///< the files were on disk when this was written
  std::string boot_id;  ///< of the host that unpacked it
};

std::string to_json(const layer_meta& meta);
/// errc::internal when the text is no meta.json.
result<layer_meta> parse_layer_meta(const std::string& text);
/// /proc/sys/kernel/random/boot_id, "" where there is none.
std::string current_boot_id();

}  // namespace arca::images
