// The agent as process 1 of a virtual machine (guest/proto/vm_start.hpp).
#pragma once

namespace arca::guest {

/// Serves until Shutdown, then powers the machine off; also when it cannot start, with the reason on the console.
/// Word of the kernel's command line: arca.channel=bridge puts a socket pair between gRPC and the port.
[[noreturn]] void run_as_init();

}  // namespace arca::guest
