// agent_exec → ExecRequest of guest/proto/agent.proto.
#pragma once
#include "guest/proto/agent.pb.h"
#include "vm/agent_client.hpp"

namespace arca::vm {

/// For every agent.
arca::agent::v1::ExecRequest to_request(const agent_exec& what);

/// For one of this revision of the protocol, whose process is also connected: what it need not read as JSON comes as
/// `process`, and the exit with the end of the output.
arca::agent::v1::ExecRequest to_request(const agent_exec& what, uint32_t revision);

void fill(arca::agent::v1::Stdio& into, const agent_stdio& from);

}  // namespace arca::vm
