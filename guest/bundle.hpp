// The folder of a container that an OCI runtime starts from: config.json, and what the daemon handed over as
// descriptors, attached in the agent's own mount namespace (nothing of it appears in the host's).
#pragma once
#include <string>

#include "guest/launcher.hpp"

namespace arca::guest {

struct bundle_facts {
  std::string cgroup_path;  ///< linux.cgroupsPath
  bool own_pid_namespace = true;
};

/// Makes `folder` with config.json. On failure nothing is left.
result<bundle_facts> make_bundle(const std::string& folder, create_spec& spec);
/// Detaches the mounts and removes the folder.
void remove_bundle(const std::string& folder);
/// The `process` object of an exec with terminal and size as `spec` says.
result<std::string> exec_process_text(const exec_spec& spec);

}  // namespace arca::guest
