#include "vm/exec_request.hpp"

#include <nlohmann/json.hpp>

#include "persistence/base/json_fields.hpp"
#include "vm/oci/spec.hpp"

namespace arca::vm {
namespace {
namespace proto = arca::agent::v1;
using nlohmann::json;
using namespace json_fields;

constexpr uint32_t first_with_process = 2;

std::optional<uint32_t> small_number(const json& in, const char* name) {
  const auto value = integer_or(in, name, 0);
  if (value < 0 || value > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(value);
}

/// False: there is something in it that only JSON can say.
bool take_plain_part(json& process, proto::Process& into) {
  const json user = member(process, "user");
  const auto uid = small_number(user, "uid"), gid = small_number(user, "gid"),
             lacking = small_number(process, oci::lacking_folders);
  if (!uid || !gid || !lacking) return false;
  for (auto& each : texts(process, "args")) into.add_args(std::move(each));
  for (auto& each : texts(process, "env")) into.add_env(std::move(each));
  into.set_cwd(text(process, "cwd"));
  into.set_uid(*uid);
  into.set_gid(*gid);
  if (const auto& groups = member(user, "additionalGids"); groups.is_array())
    for (const auto& group : groups)
      if (group.is_number()) into.add_additional_gids(static_cast<uint32_t>(group.get<int64_t>()));
  into.set_lacking_folders(*lacking);
  for (const char* taken : {"args", "env", "cwd", oci::lacking_folders}) process.erase(taken);
  if (user.is_object())
    for (const char* taken : {"uid", "gid", "additionalGids"}) process["user"].erase(taken);
  return true;
}

/// What says no more than its absence, or what ExecRequest.stdio says.
void drop_needless(json& process) {
  process.erase("terminal");
  process.erase("consoleSize");
  if (!flag(process, "noNewPrivileges")) process.erase("noNewPrivileges");
  if (member(process, "user").empty()) process.erase("user");
}
}  // namespace

void fill(proto::Stdio& into, const agent_stdio& from) {
  into.set_tty(from.tty);
  into.set_open_stdin(from.open_stdin);
  into.set_capture(from.capture);
  into.set_rows(from.rows);
  into.set_columns(from.columns);
  into.set_spool_limit(from.spool_limit);
  into.set_non_blocking(from.non_blocking);
}

proto::ExecRequest to_request(const agent_exec& what) {
  proto::ExecRequest request;
  request.set_container_id(what.container_id);
  request.set_process_id(what.process_id);
  request.set_oci_process(what.oci_process);
  fill(*request.mutable_stdio(), what.stdio);
  return request;
}

proto::ExecRequest to_request(const agent_exec& what, uint32_t revision) {
  auto request = to_request(what);
  if (revision < first_with_process) return request;
  request.set_exit_with_output(true);
  auto process = json::parse(what.oci_process, nullptr, false);
  if (!process.is_object()) return request;
  if (!take_plain_part(process, *request.mutable_process())) {
    request.clear_process();
    return request;
  }
  drop_needless(process);
  request.set_oci_process(process.empty() ? std::string() : process.dump());
  return request;
}

}  // namespace arca::vm
