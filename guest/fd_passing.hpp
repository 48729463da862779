// Descriptors over unix sockets, and who is at the other end.
#pragma once
#include <sys/types.h>

#include <cstddef>

#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

/// recvmsg without waiting; puts the first descriptor that came along (if any) into `fd` and closes others. As recv(2).
ssize_t receive_with_fd(int socket, void* into, size_t size, unique_fd& fd);
/// Whether the peer of a connected unix socket runs as root.
bool peer_is_root(int socket);

}  // namespace arca::guest
