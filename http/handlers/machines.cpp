// Arca's own endpoints for the machines that containers run in: list, one machine, its boot log, a connection to an
// address inside.
#include <nlohmann/json.hpp>

#include "actors/streams/byte_channel.hpp"
#include "http/handlers/common.hpp"
#include "http/head.hpp"
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

// ?to=tcp:HOST:PORT, udp:HOST:PORT or unix:PATH. Once it is connected, bytes to and fro as attach has them; the
// client's end of input is passed on, and the end of what comes from inside is the end. Of datagrams each piece that
// arrives together is one.
awaitable<response> machine_dial(call& c) {
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  const auto machine = co_await ask_with_deadline(c, found->handle, find_machine{});
  if (!machine) co_return error_response(machine.error());
  dial_machine m;
  m.container_id = found->record->id;
  m.address = c.req.query.get("to");
  const auto dialled = co_await ask_with_deadline(c, *machine, std::move(m));
  if (!dialled) co_return error_response(dialled.error());
  auto opened = engine_of(c).context().streams->take(dialled->stream);
  if (!opened) co_return failed(errc::internal, "the connection has gone");
  co_await c.hijack(hijack_head(c.req, false, response::standard::none), std::move(*opened));
  co_return response::sent();
}

}  // namespace arca::http
