// Makes the machines of one kind, takes over those of an earlier daemon, removes what nobody owns. One backend per kind
// and engine (vm/namespace, vm/qemu). Thread-safe; calls may block unless they say otherwise.
#pragma once
#include <memory>
#include <string>

#include "vm/exit_watch.hpp"
#include "vm/machine.hpp"

namespace arca::vm {

/// What is known of a machine before it boots.
struct machine_order {
  std::string id;             ///< container id
  std::string cgroup;         ///< of cgroup_of
  std::string beside;         ///< not empty: the folder of a machine of this kind that the container is put into
  bool host_network = false;  ///< errc::unsupported where the machine has a kernel of its own
  int64_t memory =
      0;  ///< HostConfig.Memory in bytes; 0: the default size. A limit of the container, not of its machine
  int64_t nano_cpus = 0;                                                 ///< HostConfig.NanoCpus; 0: the default
  std::string kernel_arguments, kernel_path, initrd_path;                ///< of annotations; empty: the guest's own
  start_account::clock::time_point asked = start_account::clock::now();  ///< when the start was asked for
};

class backend {
 public:
  virtual ~backend() = default;

  /// Fills the pool of ready machines from now on, if there is one. Does not block.
  virtual void start_pool() = 0;
  /// Before boot(). errc::gone when the machine that is to be shared has ended or is about to.
  virtual result<std::unique_ptr<machine>> make(const machine_order& order) = 0;
  /// Before adopt(). The identity is not believed yet.
  virtual std::unique_ptr<machine> reopen(const machine_identity& identity) = 0;
  /// "/arca/<id>", another one for each start of a container: the group of the start before may still be going away.
  virtual std::string cgroup_of(const std::string& id, uint64_t generation, const std::string& parent) const = 0;
  /// Ends what belongs to no machine that was made or reopened: processes, folders, groups, devices. For up to seconds.
  virtual void sweep() = 0;

  virtual exit_watch& exits() = 0;
  virtual uint64_t generation() const = 0;  ///< of this daemon, for hello
};

}  // namespace arca::vm
