// Makes, limits and removes a container's cgroup, on v2 and on v1 (there one folder a hierarchy).
#pragma once
#include <sys/types.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest::native {

struct hierarchy {
  std::string name;    ///< "memory"; "systemd" for that without controllers
  std::string folder;  ///< where it is mounted
};
/// Those of cgroup v1 that are mounted; empty on v2.
const std::vector<hierarchy>& hierarchies();

class cgroup_tree {
 public:
  /// Makes the folders of `path` ("/arca/ID/ctr"), on v2 with every controller passed down to them. Existing ones are
  /// fine. On failure nothing is left.
  static result<cgroup_tree> make(const std::string& path);
  cgroup_tree() = default;

  /// linux.resources but its devices.
  result<void> limit(const nlohmann::json& resources) const;
  /// The devices of linux.resources; once, before the first process.
  result<void> restrict_devices(const nlohmann::json& resources) const;
  /// v2: the folder, for CLONE_INTO_CGROUP; where the container has moved its processes further down (no process may be
  /// beside a cgroup with controllers) that of `member`, 0: none. v1: empty.
  result<unique_fd> open_folder(pid_t member) const;
  /// v1: cgroup.procs of each hierarchy. v2: none.
  result<std::vector<unique_fd>> open_procs() const;
  /// Removes the folders where nothing is left in them.
  void remove() const;

 private:
  std::string path_;
  std::shared_ptr<const unique_fd> folder_;  ///< v2
};

}  // namespace arca::guest::native
