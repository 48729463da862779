// The texts that name mounts: "SOURCE:DESTINATION:MODE" of Binds and "CONTAINER:MODE" of VolumesFrom.
#pragma once
#include <string>
#include <string_view>

#include "actors/model/mounts.hpp"

namespace arca::model {

/// Whether a comma-separated mode has known words only, at most one of each group.
bool valid_mount_mode(std::string_view mode);
/// False when the mode says "ro".
bool mode_is_writable(std::string_view mode);
/// "shared", "rslave" … of the mode, "" none.
std::string propagation_of(std::string_view mode);
bool mode_has_nocopy(std::string_view mode);
bool known_propagation(std::string_view word);

/// One element of HostConfig.Binds. errc::internal with Docker's text.
result<mount_plan> parse_bind(const std::string& text, const std::string& volume_driver);

struct volumes_from {
  std::string container, mode;
};
result<volumes_from> parse_volumes_from(const std::string& text);

/// One element of HostConfig.Mounts, which check_mount has accepted.
mount_plan plan_of(const json& mount);

/// check_mount without a look at the host's files.
result<void> check_mount_shape(const json& mount);

}  // namespace arca::model
