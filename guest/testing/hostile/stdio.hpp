// Connections for the bytes of a process (guest/proto/stdio_frame.hpp), and what can be wrong with them.
#pragma once
#include "guest/testing/hostile/processes.hpp"
#include "guest/testing/hostile/wish.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::hostile {

/// One connection, from the daemon's hello to its end. Blocks.
void serve_stdio(unique_fd socket, const wish& wanted, processes& all);

}  // namespace arca::hostile
