// "user[:group]" and --group-add against the container's own /etc/passwd and /etc/group, with Docker's rules and words.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::oci {

struct resolved_user {
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;  ///< the primary group first, then the others
  std::string home = "/";
};

/// The texts of the two files; a missing file is an empty text.
result<resolved_user> resolve_user(std::string_view user, const std::vector<std::string>& group_add,
                                   std::string_view passwd, std::string_view group);

/// A regular file below the rootfs, never through a link out of it; at most `limit` bytes, empty when it is not there.
std::string read_below(int root_fd, const char* path, size_t limit);

/// Both files of the rootfs (1 MiB each are read).
result<resolved_user> resolve_user(int root_fd, std::string_view user, const std::vector<std::string>& group_add);

}  // namespace arca::oci
