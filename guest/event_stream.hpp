// The Events call: each exit comes once a stream, OOM events are capped.
#pragma once
#include "guest/agent.hpp"
#include "guest/proto/agent.grpc.pb.h"
#include "guest/push_stream.hpp"

namespace arca::guest {

void fill(arca::agent::v1::Exit& into, const exit_record& r);

using event_stream = push_stream<arca::agent::v1::Event>;
void push(event_stream& into, const event& what);

}  // namespace arca::guest
