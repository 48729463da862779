// The guests that are there: DATA_ROOT/guest/VERSION/, of which `current` names one.
#pragma once
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

/// What DATA_ROOT/guest/current names; empty when there is no such link, or it points out of the folder.
std::string current_version(const std::string& data_root);
/// Points `current` to it, at once for whoever looks, and for good.
result<void> make_current(const std::string& data_root, const std::string& version);

/// Held by whoever changes the folder. errc::conflict: somebody else does.
result<unique_fd> lock_guests(const std::string& data_root);

/// The versions that are installed, sorted.
result<std::vector<std::string>> installed_versions(const std::string& data_root);

/// Removes every version that is neither the current one nor named by "guest" in RUN_ROOT/*/*/machine.json.
/// Returns those that are gone. A machine.json that cannot be read could name any of them: errc::conflict, and nothing
/// is removed.
result<std::vector<std::string>> prune_guests(const std::string& data_root, const std::string& run_root);

}  // namespace arca::vm
