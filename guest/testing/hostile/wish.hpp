// A hostile agent: it takes arca-guest's place in a test (tests/system/test_hostile.py) and does one thing wrong, as
// its wish says, "WHAT:HOW" or "WHAT:HOW=ARGUMENT". In all else it is an agent that obeys and runs nothing.
//
//   ready, line   before gRPC: never, half, endless (line: of the port's handshake; ready: of the pool's socket)
//   CALL          a call of agent.proto: never, error, huge, bomb (the same, compressed), close; Hello,
//   CreateContainer, Exec, Processes and Stats
//                 have ways of their own
//   Events        endless, others=ID, twice, oom, times, early, end
//   stdio, fd     frames of guest/proto/stdio_frame.hpp; descriptors
//   Open, Tunnel  the messages around them, in a virtual machine; Started: the answer to an exec there
//   wire          what is between gRPC and the daemon: double, flip, slow, garbage, pings, deaf
//   console       flood
#pragma once
#include <string>

namespace arca::hostile {

struct wish {
  std::string what, how, argument;
  bool is(const char* w, const char* h) const { return what == w && how == h; }
};

inline wish wish_of(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) return {};
  const auto equals = text.find('=', colon);
  wish out{text.substr(0, colon), text.substr(colon + 1, equals - colon - 1), {}};
  if (equals != std::string::npos) out.argument = text.substr(equals + 1);
  return out;
}

/// For ever, unless the process is killed.
[[noreturn]] void wait_for_ever();

}  // namespace arca::hostile
