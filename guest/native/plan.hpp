// What is done between clone and execve, prepared to the last byte: the child only reads it.
#pragma once
#include <linux/filter.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "guest/native/mount_options.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest::native {

struct rlimit_value {
  std::string name;
  int resource = 0;
  rlimit value{};
};

/// Bits by capability number.
struct capability_sets {
  uint64_t bounding = 0, effective = 0, permitted = 0, inheritable = 0, ambient = 0;
};

struct process_plan {
  std::vector<std::string> args, env;
  std::vector<std::string> candidates;  ///< files to try, in the order of $PATH
  size_t lacking = 0;                   ///< so many of them are not there, if no mount was added
  std::string cwd = "/";
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  mode_t mask = 022;
  bool has_capabilities = false;
  capability_sets capabilities;
  bool no_new_privileges = false;
  std::vector<rlimit_value> rlimits;
  std::string oom_score_adj;  ///< empty: left alone
  bool tty = false;
  uint16_t rows = 0, columns = 0;

  std::vector<char*> argv, envp;  ///< of args and env, by seal()
  /// Makes argv and envp; the strings must not move afterwards.
  void seal();
  /// Those that are not there need not be tried. One stays, to say so.
  void drop_lacking() {
    candidates.erase(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                                  lacking, candidates.size() - !candidates.empty())));
    lacking = 0;
  }
};

struct seccomp_filter {
  std::vector<sock_filter> program;  ///< empty: none
  unsigned flags = 0;                ///< SECCOMP_FILTER_FLAG_…
};

struct mount_plan {
  std::string source, target, type;
  mount_options options;
  unique_fd tree;               ///< what is attached, ready; else a file system of `type` is mounted
  bool folder = true;           ///< what the mount point must be
  bool mode_of_target = false;  ///< a tmpfs without mode= gets that of the folder it covers
};

struct device_plan {
  std::string path;
  mode_t mode = 0;  ///< with S_IFCHR, S_IFBLK or S_IFIFO
  dev_t number = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct sysctl_plan {
  std::string name, path, value;
};

struct joined_namespace {
  int kind = 0;  ///< CLONE_NEW…
  std::string path;
  unique_fd fd;
};

struct container_plan {
  process_plan process;
  seccomp_filter seccomp;

  uint64_t new_namespaces = 0;  ///< CLONE_NEW… but that of the cgroup
  bool new_cgroup_namespace = false;
  std::vector<joined_namespace> joined;
  std::string hostname, domainname;
  bool has_hostname = false, has_domainname = false;
  std::vector<sysctl_plan> sysctls;

  unique_fd root;       ///< a detached mount
  std::string staging;  ///< the folder that it is mounted on, in its own mount namespace
  bool read_only_root = false;
  unsigned long root_propagation = 0;  ///< MS_…; 0: private
  bool root_propagation_below = true;
  std::vector<mount_plan> mounts;
  std::vector<device_plan> devices;
  bool standard_devices = true;  ///< nodes and links that every /dev has; not where /dev is a bind mount
  std::vector<std::string> masked, read_only;

  std::string cgroup_path;
};

}  // namespace arca::guest::native
