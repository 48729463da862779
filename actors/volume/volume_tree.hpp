// The folders of volumes: ROOT/NAME/_data. All of it blocks.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca {

/// NAME/_data, root's, mode 0755; what is there stays.
result<void> make_volume(const std::string& root, const std::string& name);

/// Takes NAME out of sight: renames it to a name that no volume can have, which is answered. "" when there was none.
result<std::string> hide_volume(const std::string& root, const std::string& name);
result<void> unhide_volume(const std::string& root, const std::string& hidden, const std::string& name);

struct volume_folders {
  std::vector<std::string> names;     ///< with a _data folder
  std::vector<std::string> leftover;  ///< volumes whose folder is empty
  struct hidden {
    std::string folder, name;
  };
  std::vector<hidden> removing;  ///< an earlier daemon had begun to remove these
};
result<volume_folders> scan_volumes(const std::string& root);

/// Bytes of all files below NAME/_data; a file with several links counts once. Links are not followed. -1: unreadable.
int64_t volume_size(const std::string& root, const std::string& name);

}  // namespace arca
