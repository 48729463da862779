// Ping, version, info, events, actors and BuildKit's upgrades.
#include <nlohmann/json.hpp>

#include "actors/model/filters.hpp"
#include "actors/streams/byte_channel.hpp"
#include "http/handlers/common.hpp"
#include "persistence/base/text.hpp"
#include "vm/qemu/vm_status.hpp"

namespace arca::http {
namespace {
constexpr std::chrono::milliseconds look_patience(1000);
}

awaitable<response> ping(call& c) {
  auto r = response::text(200, c.req.method == "HEAD" ? "" : "OK");
  r.headers = {{"Builder-Version", "2"},
               {"Cache-Control", "no-cache, no-store, must-revalidate"},
               {"Pragma", "no-cache"},
               {"Swarm", "inactive"}};
  co_return r;
}

awaitable<response> version(call& c) {
  co_return response::json(200, model::version_json(model::this_host(), c.services_of_server->facts));
}

awaitable<response> info(call& c) {
  model::engine_counts counts;
  const auto containers = engine_of(c).containers();
  for (const auto& [id, entry] : containers->by_id()) {
    ++counts.containers;
    const auto status = model::docker_status(entry.record->state.status);
    if (status == "running" || status == "restarting") {
      ++counts.running;
    } else if (status == "paused") {
      ++counts.paused;
    } else {
      ++counts.stopped;
    }
  }
  auto& context = engine_of(c).context();
  auto images = co_await ask_here(c, context.images, count_images{});
  if (!images) co_return error_response(images.error());
  counts.images = images->images;
  counts.actors = static_cast<int64_t>(context.actors->snapshot().size());
  counts.now_nanos = now_nanos();
  auto facts = c.services_of_server->facts;
  // Looked at again, as `arca setup` may have been there. On a busy host: as it was when somebody last looked.
  (void)co_await ask(c.port(), context.machines, ask_options{.deadline = look_patience}, look_at_host{});
  const auto vms = context.vms->get();
  auto machine = vm::default_machine(context.config.default_runtime, vms);
  facts.default_machine = std::move(machine.kind);
  facts.machine_reason = std::move(machine.reason);
  facts.hypervisor = vms.hypervisor;
  facts.acceleration = vm::acceleration_text(vms);
  facts.guest = vms.guest;
  co_return response::json(200, model::info_json(model::this_host(), facts, counts, c.req.version));
}

awaitable<response> events(call& c) {
  subscribe_events s;
  const auto since = parse_timestamp(c.req.query.get("since"));
  const auto until = parse_timestamp(c.req.query.get("until"));
  if (!since) co_return error_response(since.error());
  if (!until) co_return error_response(until.error());
  if (c.req.query.has("since") && *until != 0 && *since > *until)
    co_return failed(errc::invalid_argument, "`since` time (" + c.req.query.get("since") +
                                                 ") cannot be after `until` time (" + c.req.query.get("until") + ")");
  const auto filters = model::filters::parse(c.req.query.get("filters"));
  if (!filters) co_return error_response(filters.error());
  s.since = *since;
  s.until = *until;
  s.filters = filters->to_json();
  s.api_version = "1." + std::to_string(c.req.version.minor);
  auto& context = engine_of(c).context();
  const auto id = co_await ask_with_deadline(c, context.events, std::move(s));
  if (!id) co_return error_response(id.error());
  auto opened = context.streams->take(*id);
  if (!opened) co_return failed(errc::internal, "the stream of events has gone");
  if (!co_await c.start(response::json(200, ""))) opened->output->abort();
  co_await c.copy(opened->output);
  co_return response::sent();
}

// Answers from the table beside the mailboxes, also when every worker is stuck.
awaitable<response> actors(call& c) {
  auto rows = nlohmann::json::array();
  for (const auto& row : engine_of(c).context().actors->snapshot())
    rows.push_back({{"path", row.path},
                    {"kind", row.kind},
                    {"state", row.state},
                    {"mailbox", row.mailbox},
                    {"handled", row.handled},
                    {"restarts", row.restarts},
                    {"message", row.message},
                    {"running_ms", row.running_ms},
                    {"busy_ms", row.busy_ms}});
  const nlohmann::json answer{{"actors", std::move(rows)}};
  co_return response::json(200, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

awaitable<response> disk_usage(call& c) {
  for (const auto& type : c.req.query.all("type"))
    if (type != "container" && type != "image" && type != "volume" && type != "build-cache")
      co_return failed(errc::invalid_argument, "unknown object type: " + type);
  co_return unsupported("disk usage (GET /system/df) is");
}

namespace {
response refuse_upgrade(const request& r, int status_without) {
  const auto upgrade = r.headers.get("Upgrade");
  if (upgrade.empty()) return error_response(status_without, "no upgrade proto in request");
  if (upgrade != "h2c") return error_response(400, "protocol " + std::string(upgrade) + " not supported");
  return unsupported("BuildKit is");
}
}  // namespace

awaitable<response> session(call& c) {
  co_return refuse_upgrade(c.req, 400);
}
awaitable<response> grpc(call& c) {
  co_return refuse_upgrade(c.req, 500);
}

}  // namespace arca::http
