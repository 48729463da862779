// What a fresh agent process does to itself before it serves: nothing of its parent stays, and it stands in namespaces
// of its own.
#pragma once
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// Standard streams to /dev/null, every descriptor but `keep_fd` (-1: none) closed, the environment emptied.
void drop_inheritance(int keep_fd);
/// Session leader, subreaper; every signal blocked that can be (for the threads to come as well), SIGPIPE ignored.
void become_supervisor();
/// One heap for all threads, small stacks, and free memory above `spare` bytes given back: fifty agents run at once on
/// a host. Before the first thread.
void be_small(int spare);
/// Waking up does not push aside who runs (SCHED_BATCH): what a process writes is then read in large pieces and not
/// page by page, and each change between the two costs an emulated machine all that its translator had at hand. For all
/// threads and children to come.
void be_patient();
/// New mount namespace (slave of the host's) with a cgroup tree that crun accepts, and unless `host_network` a new
/// network namespace with loopback up.
result<void> isolate(bool host_network);
/// A listening unix socket, mode 0600, replacing one that is there.
result<unique_fd> listen_unix(const std::string& path);

}  // namespace arca::guest
