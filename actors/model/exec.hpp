// Exec sessions: POST /containers/{id}/exec, /exec/{id}/start, GET /exec/{id}/json.
#pragma once
#include <string>
#include <string_view>

#include "actors/model/api_version.hpp"
#include "actors/model/go_json.hpp"

namespace arca::model {

/// Normalised exec configuration: User, Privileged, Tty, ConsoleSize, AttachStdin, AttachStderr, AttachStdout,
/// DetachKeys, Env, WorkingDir, Cmd. errc::invalid_argument "No exec command specified" and the like. DetachKeys are
/// checked later, when the container is known (parse_exec_detach_keys).
result<json> decode_exec(std::string_view body, api_version version);

struct exec_start_options {
  bool detach = false, tty = false;
  uint32_t rows = 0, columns = 0;
};
result<exec_start_options> decode_exec_start(std::string_view body, api_version version);

struct exec_state {
  std::string id, container_id;
  bool running = false;
  bool exited = false;  ///< ExitCode is shown (else null)
  int32_t exit_code = 0;
  int64_t pid = 0;
  bool can_remove = false;
};
/// Body of GET /exec/{id}/json; `config` is decode_exec's answer.
std::string exec_inspect_json(const exec_state& state, const json& config);

}  // namespace arca::model
