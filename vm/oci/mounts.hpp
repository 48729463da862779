// The `mounts` array of the spec and what depends on it.
#pragma once
#include "vm/oci/json_access.hpp"
#include "vm/oci/spec.hpp"

namespace arca::oci {

struct mount_plan {
  json mounts = json::array();
  std::string rootfs_propagation;  ///< "", "rslave" or "rshared": what the propagation of a bind mount needs
};
result<mount_plan> plan_mounts(const spec_inputs& in, bool init);

}  // namespace arca::oci
