// "tcp:HOST:PORT", "udp:HOST:PORT", "unix:PATH": an address inside a machine, as people write it.
#pragma once
#include <string>

#include "persistence/base/error.hpp"
#include "vm/agent_client.hpp"

namespace arca::vm {

/// HOST is numeric ("[::1]" for IPv6) or localhost, PATH absolute. errc::invalid_argument with the reason.
result<agent_tunnel> parse_dial_target(const std::string& text);

}  // namespace arca::vm
