// Mount points of a container, from Binds, Mounts, Tmpfs, Config.Volumes and VolumesFrom, by Docker's precedence.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/container_record.hpp"
#include "actors/model/go_json.hpp"

namespace arca::model {

/// One mount and how it is to be made; `point` is what the record keeps and inspect shows.
struct mount_plan {
  mount_point point;  ///< anonymous volume: type "volume", name empty until acquire_volume has answered
  bool anonymous = false;
  bool copy_data = true;            ///< volume: seed it with the image's files (nocopy not given)
  bool create_source = false;       ///< bind: make the host folder when it is missing (Binds, CreateMountpoint)
  bool recursive = true;            ///< bind: rbind
  bool read_only_recursive = true;  ///< read-only also for mounts below (ReadOnlyNonRecursive not given)
  bool force_recursive_read_only = false;
  bool from_container = false;  ///< came with VolumesFrom
  bool from_tmpfs_map = false;  ///< HostConfig.Tmpfs
  std::string subpath;          ///< below the volume or image
  std::string driver;           ///< volume driver asked for, "" local
  std::map<std::string, std::string> volume_labels, volume_options;
  std::string tmpfs_options;  ///< type tmpfs: "size=1048576,mode=700,noexec"
};

/// A container that VolumesFrom names: its mounts. errc::not_found "No such container: x".
using volumes_from_lookup = std::function<result<std::vector<mount_point>>(const std::string& container)>;

/// Sorted by destination. VolumesFrom yields to Binds and Mounts, Config.Volumes yield to all; everything else on one
/// destination is "Duplicate mount point: /x". Errors have Docker's words: the grammar of Binds is errc::internal
/// (500), the rest errc::invalid_argument.
result<std::vector<mount_plan>> plan_mounts(const json& config, const json& host_config,
                                            const volumes_from_lookup& lookup = {});

/// Whether inspect and the record show it (HostConfig.Tmpfs is not shown).
bool shown_in_mounts(const mount_plan& plan);

/// Stage-1 check of one HostConfig.Mounts element: "invalid mount config for type "bind": …". Looks at the host's files
/// for bind sources.
result<void> check_mount(const json& mount);
/// "invalid mount path: 'x' mount path must be absolute" …
result<void> check_tmpfs_destination(std::string_view destination);
/// Go's filepath.Clean.
std::string clean_path(std::string_view path);
/// 'create x: "x" includes invalid characters for a local volume name, …' (400)
result<void> check_volume_name(std::string_view name);

}  // namespace arca::model
