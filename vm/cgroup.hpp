// Control groups of machines, below every hierarchy the host has: v2 alone, v1, or v1 with a v2 tree beside it
// (hybrid). A path names the same group in all of them: "/arca/<id>". None of these calls needs the agent.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

enum class cgroup_mode : uint8_t { v1, hybrid, v2 };

struct cgroup_hierarchy {
  std::string mount_point;               ///< "/sys/fs/cgroup/memory"
  std::vector<std::string> controllers;  ///< {"memory"}; {"name=systemd"}; {""} for the v2 tree
  bool unified = false;
};

/// What /proc/self/mountinfo says; pure, for tests.
std::vector<cgroup_hierarchy> parse_cgroup_mounts(const std::string& mountinfo);

class cgroup_tree {
 public:
  explicit cgroup_tree(std::vector<cgroup_hierarchy> hierarchies);
  static const cgroup_tree& host();  ///< read once

  cgroup_mode mode() const { return mode_; }
  const std::vector<cgroup_hierarchy>& hierarchies() const { return hierarchies_; }
  /// Folder of `path` in the hierarchy that has `controller`; empty when there is none.
  std::string folder(const std::string& controller, const std::string& path) const;

  /// Makes a group that will have groups inside (`path` and its parents): delegates controllers on v2, fills cpuset on
  /// v1.
  result<void> create_parent(const std::string& path) const;
  /// Makes a group that will hold processes, below a parent as of create_parent. Its open cgroup.procs, one of each
  /// hierarchy: who writes "0" to all of them is in the group.
  result<std::vector<unique_fd>> create_leaf(const std::string& path) const;
  /// SIGKILL for everything in the subtree: cgroup.kill, or freeze, signal, thaw until it is empty. Does not wait for
  /// the processes to be reaped. False in the value when there was nothing.
  result<bool> kill(const std::string& path) const;
  result<void> freeze(const std::string& path, bool frozen) const;
  /// Process ids in the subtree.
  std::vector<int64_t> processes(const std::string& path) const;
  /// Removes the subtree from every hierarchy; tries again for up to `patience_ms` while the kernel still says busy.
  result<void> remove(const std::string& path, int patience_ms) const;
  /// Removes this one group where nothing is in it and nothing below it.
  void remove_if_empty(const std::string& path) const;
  /// Names directly below `path` in any hierarchy.
  std::vector<std::string> children(const std::string& path) const;

 private:
  std::vector<cgroup_hierarchy> hierarchies_;
  cgroup_mode mode_ = cgroup_mode::v2;
};

}  // namespace arca::vm
