// The version of guest/proto/agent.proto that the engine and its agents speak: the same on both sides, or Hello fails.
#pragma once
#include <cstdint>

namespace arca {
inline constexpr uint32_t agent_protocol_version = 1;
}
