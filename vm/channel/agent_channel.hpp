// The way from the daemon to the agent of a VM: QEMU's unix socket, behind which is the agent's virtio-serial port
// (guest/proto/vm_start.hpp). QEMU serves one client at a time; a second one waits in its backlog, and its line with
// it.
#pragma once
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

/// 32 random lower-case hexadecimal digits: the secret of a new machine.
std::string new_agent_secret();

/// Connects, sends the line and waits for its echo; asks again, with another nonce, when none comes. The descriptor
/// stands right behind the echo and is for agent_client::over. May be called before the agent runs, or while an older
/// client is still served. errc::timeout: no echo by then; errc::unavailable: nobody listens, or QEMU has gone. Blocks.
result<unique_fd> connect_agent(const std::string& socket_path, const std::string& secret, int deadline_ms);

}  // namespace arca::vm
