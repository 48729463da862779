// The files of a container on the host: DATA_ROOT/containers/ID/{upper,work} and what Docker does at create – the
// working directory is made in the writable layer, fresh volumes get the image's content.
#pragma once
#include <string>

#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/model/mounts.hpp"
#include "persistence/base/error.hpp"

namespace arca {

/// Blocking. All or nothing: made under a temporary name and renamed into place.
result<void> make_container_files(const model::container_record& record, const std::vector<model::mount_plan>& plan,
                                  const std::string& dir);

}  // namespace arca
