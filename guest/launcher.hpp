// How processes of containers are made. In a namespace machine an OCI runtime does it (crun_launcher), because there it
// is the security boundary; in a VM the agent does it itself (native_launcher). Everything else about a process - its
// bytes, its end, signals, freezing, numbers - is the same for both and needs no launcher.
//
// All calls are made on the loop and do not wait; `done` is called once, on the loop, perhaps before the call returns.
// A process that was launched becomes a child of the agent (a subreaper), so that reaper sees its end.
#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "guest/cgroup.hpp"
#include "guest/process_stdio.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

struct mount_source {
  std::string destination;  ///< that of a mount in the spec
  unique_fd tree;           ///< a detached mount, or a file or folder opened with O_PATH
};

struct create_spec {
  std::string container_id;
  std::string oci_spec;     ///< JSON; the launcher fills in root.path, process.terminal and the sources of mounts
  unique_fd rootfs_tree;    ///< a detached mount, or
  std::string rootfs_path;  ///< a folder
  bool read_only_rootfs = false;
  std::vector<mount_source> mount_sources;
  unique_fd network;  ///< a network namespace that was made for it
  child_stdio stdio;
  bool tty = false;
  uint32_t rows = 0, columns = 0;
};

/// Members of the OCI runtime spec's `process`.
struct plain_process {
  std::vector<std::string> args, env;
  std::string cwd;
  int64_t uid = 0, gid = 0;
  std::vector<gid_t> additional_gids;
  int64_t lacking_folders = 0;  ///< of $PATH, from its beginning: the program is not in them
};

struct exec_spec {
  std::string container_id;
  std::string oci_process;               ///< JSON; empty: nothing but `process`
  std::optional<plain_process> process;  ///< instead of what the JSON would say of it
  child_stdio stdio;
  bool tty = false;
  uint32_t rows = 0, columns = 0;
};

struct launched {
  pid_t pid = 0;
  unique_fd terminal;  ///< the master, if the process has one
  bool ended = false;  ///< it has ended already, as the reaper will tell now
};

struct created : launched {
  cgroup group;
  bool own_pid_namespace = true;  ///< the kernel kills the container's other processes with its init
};

class launcher {
 public:
  virtual ~launcher() = default;

  /// Errors carry the runtime's own words. Nothing is left behind by a failure.
  virtual void create_container(create_spec spec, std::function<void(result<created>)> done) = 0;
  virtual void exec(exec_spec spec, std::function<void(result<launched>)> done) = 0;
  /// `resources`: JSON, linux.resources of the OCI runtime spec.
  virtual void update_resources(const std::string& container_id, const std::string& resources,
                                std::function<void(result<void>)> done) = 0;
  /// Removes mounts and files of a container whose init has ended.
  virtual void forget(const std::string& container_id) = 0;
};

}  // namespace arca::guest
