// GET /containers/{id}/json.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "actors/model/api_version.hpp"
#include "actors/model/container_record.hpp"

namespace arca::model {

struct inspect_extras {
  std::string data_root;              ///< GraphDriver folders are DATA_ROOT/containers/ID/{upper,merged,work}
  std::vector<std::string> exec_ids;  ///< running execs; empty shows null
  bool with_size = false;
  int64_t size_rw = 0, size_root_fs = 0;
};

/// The exact body. A container actor makes the newest form; the edge turns it into an older version's with
/// inspect_for_version.
std::string inspect_json(const container_record& r, const inspect_extras& extras, api_version version = {});
/// What a client of an older version sees, from the newest text. The text itself when nothing differs.
std::string inspect_for_version(std::string newest, api_version version);

/// NetworkSettings.Networks: the networks asked for at create and those attached; addresses only while it runs.
nlohmann::json networks_json(const container_record& r);
/// MountPoint objects in the order of destinations.
nlohmann::json mounts_json(const container_record& r);

}  // namespace arca::model
