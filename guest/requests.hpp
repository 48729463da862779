// What several calls of guest/proto/agent.proto ask for, in the agent's own terms.
#pragma once
#include "guest/agent.hpp"
#include "guest/proto/agent.pb.h"

namespace arca::guest {

inline stdio_options from(const arca::agent::v1::Stdio& s) {
  return {s.tty(), s.open_stdin(), s.capture(), s.rows(), s.columns(), s.spool_limit(), s.non_blocking()};
}

inline exec_call from(const arca::agent::v1::ExecRequest& q) {
  return {q.container_id(), q.process_id(), q.oci_process(), from(q.stdio())};
}

}  // namespace arca::guest
