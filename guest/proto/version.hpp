// The version of guest/proto/agent.proto that the engine and its agents speak: the same on both sides, or Hello fails.
#pragma once
#include <cstdint>

namespace arca {
inline constexpr uint32_t agent_protocol_version = 1;
/// What was added to that version since. Machines keep the agent they were booted with: a daemon asks it for no more
/// than HelloReply says.
inline constexpr uint32_t agent_protocol_revision = 2;
}  // namespace arca
