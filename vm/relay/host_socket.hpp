// A socket of this host that a machine's containers reach through a relay: named once, connected to again and again.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

struct host_socket {
  std::string path;  ///< without symbolic links
  uint32_t uid = 0, gid = 0, mode = 0;
};

/// Of an opened file (O_PATH): where it is, and who may connect.
result<host_socket> host_socket_of(int file);

/// Connects (SOCK_STREAM) to whatever socket is at `path` now, but follows no symbolic link on the way: a machine that
/// may change the folder around it reaches nothing else by that. The server sees a client of this user and group, as
/// if it were in a container of the host; whether that user may connect was decided where it is. Waits at most
/// `limit_ms` for room in the backlog. Blocks; for threads that nobody else uses meanwhile.
result<unique_fd> connect_as(const std::string& path, uid_t uid, gid_t gid, int limit_ms);

}  // namespace arca::vm
