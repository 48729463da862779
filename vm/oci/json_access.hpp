// Docker's JSON, and the words that containerd and runc put before an error.
#pragma once
#include "persistence/base/json_fields.hpp"

namespace arca::oci {

using namespace json_fields;

/// What containerd and runc put before a create error.
inline constexpr const char* create_failed =
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ";
/// The same for an exec.
inline constexpr const char* exec_failed = "OCI runtime exec failed: exec failed: ";

}  // namespace arca::oci
