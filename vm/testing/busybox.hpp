// For integration tests: a root file system with busybox, a backend with a run folder of its own, and the engine's view
// of one process's output.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "vm/agent_client.hpp"
#include "vm/namespace/namespace_backend.hpp"
#include "vm/oci/spec.hpp"

namespace arca::vm::testing {

struct lab {
  lab();
  ~lab();
  std::string root;   ///< /tmp/arca-vm-…: removed at the end
  std::string layer;  ///< a folder with busybox in it
  std::string cgroup_parent;
  namespace_settings settings;
};

/// "arca-guest" of the build, or $ARCA_GUEST.
std::string guest_path();
/// The agent for virtual machines: $ARCA_VM_GUEST, else guest_path(). That of a sanitizer build is not static, so
/// `tests/run asan tsan` name the Release build's.
std::string vm_guest_path();

/// A container's spec from a command and changes to Docker's HostConfig.
struct container_plan {
  std::vector<std::string> args;
  nlohmann::json config = {{"Hostname", "box"}, {"Env", nlohmann::json::array()}, {"Tty", false}};
  nlohmann::json host_config = {{"ShmSize", 1 << 20}, {"CgroupnsMode", "host"}};
  std::string cgroup;
  std::vector<oci::mount_input> mounts;
  std::map<std::string, std::string> joined;  ///< as in oci::spec_inputs
  std::string joined_shm;
  std::string build(const std::string& id) const;
};

/// Reads frames until the `end` frame (or the socket ends): stdout and stderr together.
std::string read_output(int socket);

/// Boots a machine with a root file system and starts the command in it.
struct running {
  std::unique_ptr<machine> box;
  machine::attached_rootfs rootfs;
  unique_fd stdio;
  agent_started started;
};
result<running> run(backend& backend, const lab& in, const std::string& id, container_plan plan);

}  // namespace arca::vm::testing
