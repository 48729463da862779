// Arca's own endpoints for the machines that containers run in: list, one machine, its boot log.
#include <nlohmann/json.hpp>

#include "http/handlers/common.hpp"
#include "persistence/base/text.hpp"
#include "vm/machine.hpp"

namespace arca::http {

// From the directory alone, as the list of containers is.
awaitable<response> machine_list(call& c) {
  auto rows = nlohmann::json::array();
  const auto containers = engine_of(c).containers();
  for (const auto& [id, entry] : containers->by_id()) {
    const auto& r = *entry.record;
    if (r.machine.empty()) continue;
    const auto identity = vm::identity_from_json(r.machine);
    if (!identity) continue;
    auto row = r.details.is_object() ? r.details : nlohmann::json::object();
    for (const char* stages : {"Stages", "EngineStages", "StartMs", "EngineMs"}) row.erase(stages);
    row["Kind"] = identity->kind;
    row["Container"] = r.id;
    row["Name"] = r.name;
    row["Pid"] = identity->pid;
    row["StartedAt"] = r.state.started_at;
    row["UpSeconds"] = std::max<int64_t>(0, now_nanos() - r.state.started_at) / 1'000'000'000;
    rows.push_back(std::move(row));
  }
  const nlohmann::json answer{{"machines", std::move(rows)}};
  co_return response::json(200, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

awaitable<response> machine_show(call& c) {
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  show_machine m;
  m.machine = found->record->machine;
  if (m.machine.empty())
    co_return failed(errc::conflict, "container " + found->record->name + " is not running: it has no machine");
  co_return document(co_await ask_with_deadline(c, engine_of(c).context().machines, std::move(m)));
}

awaitable<response> machine_log(call& c) {
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  read_boot_log m;
  m.container_id = found->record->id;
  m.machine = found->record->machine;
  if (const auto& offset = c.req.query.get("offset"); !offset.empty()) {
    const auto number = go_atoi(offset);
    if (!number || *number < 0) co_return failed(errc::invalid_argument, "invalid offset: " + offset);
    m.offset = static_cast<uint64_t>(*number);
  }
  co_return document(co_await ask_with_deadline(c, engine_of(c).context().machines, std::move(m)));
}

}  // namespace arca::http
