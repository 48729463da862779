#include "actors/model/exec.hpp"

#include <openssl/evp.h>

#include <algorithm>

#include "actors/model/detach_keys.hpp"
#include "actors/model/go_schema.hpp"
#include "actors/model/validation.hpp"

namespace arca::model {
namespace {

// Go prints a []byte in base64.
std::string base64(const std::string& bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

}  // namespace

result<json> decode_exec(std::string_view body, api_version version) {
  ARCA_TRY(config, go::decode(body, go::exec_options));
  if (list_of(config, "Cmd").empty()) return refuse("No exec command specified");
  if (version.before(42)) config["ConsoleSize"] = nullptr;
  return std::move(config);
}

result<exec_start_options> decode_exec_start(std::string_view body, api_version version) {
  ARCA_TRY(options, go::decode(body, go::exec_start_options));
  exec_start_options out;
  out.detach = flag_of(options, "Detach");
  out.tty = flag_of(options, "Tty");
  const auto& size = list_of(options, "ConsoleSize");
  if (size.size() == 2 && out.tty && !version.before(42)) {
    out.rows = static_cast<uint32_t>(std::min<uint64_t>(size[0].get<uint64_t>(), UINT32_MAX));
    out.columns = static_cast<uint32_t>(std::min<uint64_t>(size[1].get<uint64_t>(), UINT32_MAX));
  }
  return out;
}

std::string exec_inspect_json(const exec_state& state, const json& config) {
  json process = {{"tty", flag_of(config, "Tty")}, {"privileged", flag_of(config, "Privileged")}};
  const auto& command = list_of(config, "Cmd");
  process["entrypoint"] = command.empty() ? json("") : command[0];
  process["arguments"] = json::array();
  for (size_t i = 1; i < command.size(); ++i) process["arguments"].push_back(command[i]);
  process["user"] = text_of(config, "User");
  const auto& keys = text_of(config, "DetachKeys");
  const auto parsed = keys.empty() ? result<std::string>("") : parse_exec_detach_keys(keys);
  const json answer = {{"ID", state.id},
                       {"Running", state.running},
                       {"ExitCode", state.exited ? json(state.exit_code) : json()},
                       {"ProcessConfig", std::move(process)},
                       {"OpenStdin", flag_of(config, "AttachStdin")},
                       {"OpenStderr", flag_of(config, "AttachStderr")},
                       {"OpenStdout", flag_of(config, "AttachStdout")},
                       {"CanRemove", state.can_remove},
                       {"ContainerID", state.container_id},
                       {"DetachKeys", parsed ? base64(*parsed) : ""},
                       {"Pid", state.pid}};
  return go::marshal(answer, go::exec_inspect);
}

}  // namespace arca::model
