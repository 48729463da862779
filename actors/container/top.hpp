// Views of a container: its process table (docker top) and the sizes of its file trees (inspect, ps -s).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "actors/protocol/machine.hpp"
#include "persistence/base/error.hpp"

namespace arca {

/// {"Titles":[…],"Processes":[[…]]} as `ps ARGS` shows them ("" is -ef; "aux" and -o lists of the usual columns too).
/// Executes nothing; users have the names of this host. Looks names up, which may block. errc::invalid_argument for
/// other ps arguments.
result<std::string> process_table(const process_list& of, const std::string& ps_args);

struct container_sizes {
  int64_t writable = 0, root_fs = 0;  ///< bytes, as Docker counts: lstat sizes
};
/// Blocking: walks the writable layer; the image's layers have their size in their metadata.
container_sizes measure(const std::string& container_dir, const std::vector<std::string>& layers);

}  // namespace arca
