// What stands between gRPC and the daemon, and what it can do to the bytes.
#pragma once
#include "guest/testing/hostile/wish.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::hostile {

/// The descriptor that gRPC gets for a connection.
unique_fd through_wire(unique_fd outside, const wish& wanted);

}  // namespace arca::hostile
