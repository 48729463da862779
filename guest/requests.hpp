// What several calls of guest/proto/agent.proto ask for, in the agent's own terms.
#pragma once
#include "guest/agent.hpp"
#include "guest/proto/agent.pb.h"

namespace arca::guest {

inline stdio_options from(const arca::agent::v1::Stdio& s) {
  return {s.tty(), s.open_stdin(), s.capture(), s.rows(), s.columns(), s.spool_limit(), s.non_blocking()};
}

inline plain_process from(const arca::agent::v1::Process& p) {
  return {{p.args().begin(), p.args().end()},
          {p.env().begin(), p.env().end()},
          p.cwd(),
          p.uid(),
          p.gid(),
          {p.additional_gids().begin(), p.additional_gids().end()},
          p.lacking_folders()};
}

inline exec_call from(const arca::agent::v1::ExecRequest& q) {
  exec_call call{q.container_id(), q.process_id(), q.oci_process(), {}, from(q.stdio())};
  if (q.has_process()) call.plain = from(q.process());
  call.stdio.exit_with_output = q.exit_with_output();
  return call;
}

}  // namespace arca::guest
