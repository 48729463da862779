// Starts a helper program (crun) without ever copying this process: gRPC's threads make fork unsafe, and vfork is
// quicker.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// A program as the agent runs it: through a read-only mount of the file that is attached nowhere. A container that
/// gets hold of /proc/PID/exe of a runtime which has entered it cannot write to the host's file by it (CVE-2019-5736).
/// crun and runc make such a mount themselves and start a second time, at every run; told that it is there they save
/// those 2 ms.
class program {
 public:
  program() = default;
  /// The first executable of this name in the usual folders; empty path(): there is none.
  static program find(const std::string& name);

  const std::string& path() const { return path_; }
  explicit operator bool() const { return !path_.empty(); }

  /// The child has `in`, `out`, `err` as 0, 1, 2 and no other descriptor, an empty signal mask, default signal actions
  /// and a minimal environment.
  result<pid_t> spawn(const std::vector<std::string>& arguments, int in, int out, int err) const;

 private:
  std::string path_;
  unique_fd image_;  ///< the read-only mount; empty where the kernel has no detached mounts
};

}  // namespace arca::guest
