// A container's cgroup, on cgroup v1 (one folder per hierarchy), hybrid (the same: v2 is not used there) and v2.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

enum class freeze_state : uint8_t { thawed, freezing, frozen };

class cgroup {
 public:
  cgroup() = default;
  /// "/arca/ID/ctr", below each hierarchy. Refuses relative paths, ".." and anything that is not a plain path.
  static result<cgroup> at(const std::string& path);
  /// Whether /sys/fs/cgroup is one v2 tree.
  static bool unified();

  const std::string& path() const { return path_; }
  /// Every process of it and of the cgroups below, at most 65536.
  std::vector<pid_t> processes() const;
  /// Asks for it; state() tells when it has happened.
  result<void> freeze(bool frozen) const;
  freeze_state state() const;
  /// For freezes(); empty: there is none.
  unique_fd open_freezer() const;
  /// Whether it is frozen or asked to be, by one read (on v2 without what is above it).
  static bool freezes(const unique_fd& freezer);
  void signal_all(int signal) const;
  /// SIGKILL to everything, also what forks meanwhile.
  void kill_all() const;
  /// How many processes the kernel killed here for want of memory; 0 where it cannot be read.
  uint64_t oom_kills() const;
  /// Readable when that may have grown (drain it, then ask oom_kills); empty where it cannot be watched.
  unique_fd watch_oom() const;
  /// Docker's cpu_stats, memory_stats, pids_stats, blkio_stats, and networks of this process's network namespace.
  std::string statistics(bool with_networks) const;

 private:
  std::string folder(const char* controller) const;
  std::string path_;
};

/// Small text file of /sys or /proc; empty when it cannot be read.
std::string read_small(const std::string& path);
/// The number after `key` and a space at the beginning of a line, else `otherwise`.
uint64_t keyed_number(const std::string& text, const std::string& key, uint64_t otherwise = 0);

}  // namespace arca::guest
