// Machines that are namespaces of this host: makes them, takes over those of an earlier daemon, removes what nobody
// owns.
#pragma once
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "vm/exit_watch.hpp"
#include "vm/machine.hpp"
#include "vm/namespace/agent_pool.hpp"

namespace arca::vm {

struct namespace_settings {
  std::string run_root;       ///< machines live in RUN_ROOT/machines
  std::string guest_path;     ///< arca-guest
  std::string cgroup_parent;  ///< "/arca"
  int agent_pool = 4;
};

/// JSON of an identity, as the container's row keeps it.
std::string to_json(const machine_identity& identity);
result<machine_identity> identity_from_json(const std::string& text);

class namespace_backend {
 public:
  explicit namespace_backend(namespace_settings settings);

  /// Fills the pool of idle agents from now on.
  void start_pool() { pool_.fill(); }
  /// Before boot(). `cgroup` is the path of the container's group.
  std::unique_ptr<machine> make(const std::string& id, const std::string& cgroup, bool host_network);
  /// Before adopt(). The identity is not believed yet.
  std::unique_ptr<machine> reopen(const machine_identity& identity);
  /// "/arca/<id>", another one for each start of a container: the group of the start before may still be going away.
  std::string cgroup_of(const std::string& id, uint64_t generation, const std::string& parent = {}) const;
  /// Ends agents, removes folders and groups that belong to no machine of this backend. Blocks for up to some seconds.
  void sweep();

  exit_watch& exits() { return exits_; }
  uint64_t generation() const { return generation_; }  ///< of this daemon, for hello

  // For namespace_machine: what belongs to whom.
  agent_pool& pool() { return pool_; }
  void own(const std::string& dir, const std::string& cgroup);
  void disown(const std::string& dir, const std::string& cgroup);

 private:
  const namespace_settings settings_;
  const std::string machines_dir_;
  const uint64_t generation_;
  std::mutex lock_;
  std::multiset<std::string> dirs_, cgroups_;
  exit_watch exits_;
  agent_pool pool_;
};

}  // namespace arca::vm
