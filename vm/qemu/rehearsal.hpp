// A start without a container, for a machine that waits in the pool: what agent and guest kernel do for the first time
// takes an emulated machine several times as long as later.
#pragma once
#include "vm/agent_client.hpp"

namespace arca::vm {

/// A container is created in a folder of the machine's own where its program is not, so that all happens but the
/// execve; nothing of it stays. errc: the folder, or an agent that does not answer. Blocks for some 0.3 s.
result<void> rehearse_start(agent_client& agent);

}  // namespace arca::vm
