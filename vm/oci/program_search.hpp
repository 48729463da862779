// Which folders of $PATH need not be tried inside a VM. A look for a file that is not there costs the guest a question
// to virtiofsd each time, because misses are not cached; the host sees the same tree and answers in microseconds.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace arca::oci {

/// How many of the first folders of `path` certainly have no such program for a container whose root is `root_fd` and
/// that has these mount points and no others. 0 in any doubt: a folder that is or may be below a mount point, relative
/// folders, strange links. Links are followed inside the root only.
size_t folders_without(int root_fd, std::string_view program, std::string_view path,
                       const std::vector<std::string>& mount_points);

}  // namespace arca::oci
