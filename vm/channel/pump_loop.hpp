// The one thread of this process that moves the bytes of tunnels.
#pragma once
#include "guest/loop.hpp"

namespace arca::vm {

/// Started with the first call; runs until the process ends.
guest::loop& pump_loop();

}  // namespace arca::vm
