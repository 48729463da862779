// The files of a container on the host: DATA_ROOT/containers/ID/{upper,work} and what Docker does at create – the
// working directory is made in the writable layer, fresh volumes get the image's content.
#pragma once
#include <string>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/model/mounts.hpp"
#include "persistence/base/error.hpp"

namespace arca {

/// Blocking. All or nothing: made under a temporary name and renamed into place. The answer is the container's layers:
/// the record's with the init layer (persistence/images/init_layer.hpp) on top.
result<std::vector<std::string>> make_container_files(const model::container_record& record,
                                                      const std::vector<model::mount_plan>& plan,
                                                      const std::string& dir);

}  // namespace arca
