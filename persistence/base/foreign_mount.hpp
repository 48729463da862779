// Mounts of another mount namespace: what is visible only there can be copied from inside alone.
#pragma once
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca {

/// A detached copy of what is mounted at the folder `path` in the mount namespace of that descriptor, without what is
/// mounted below it. Links in the path are not followed. Blocks for a thread's life (0.1 ms); needs CAP_SYS_ADMIN.
result<unique_fd> clone_foreign_mount(int mount_namespace, const std::string& path);

}  // namespace arca
