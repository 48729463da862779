// Machines that are namespaces of this host: makes them, takes over those of an earlier daemon, removes what nobody
// owns.
#pragma once
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "vm/backend.hpp"
#include "vm/namespace/agent_pool.hpp"

namespace arca::vm {

struct namespace_settings {
  std::string run_root;       ///< machines live in RUN_ROOT/machines
  std::string guest_path;     ///< arca-guest
  std::string cgroup_parent;  ///< "/arca"
  int agent_pool = 4;
};

class namespace_backend final : public backend {
 public:
  explicit namespace_backend(namespace_settings settings);
  /// Running machines stay for a later daemon.
  ~namespace_backend() override;

  void start_pool() override { pool_.fill(); }
  result<std::unique_ptr<machine>> make(const machine_order& order) override;
  std::unique_ptr<machine> reopen(const machine_identity& identity) override;
  std::string cgroup_of(const std::string& id, uint64_t generation, const std::string& parent) const override;
  void sweep() override;
  exit_watch& exits() override { return exits_; }
  uint64_t generation() const override { return generation_; }

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
