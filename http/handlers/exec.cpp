// Exec sessions.
#include "actors/model/exec.hpp"

#include <nlohmann/json.hpp>

#include "actors/model/detach_keys.hpp"
#include "actors/streams/byte_channel.hpp"
#include "actors/streams/mux_frame.hpp"
#include "http/handlers/common.hpp"
#include "http/head.hpp"

namespace arca::http {

awaitable<response> exec_create(call& c) {
  const auto body = co_await json_body(c);
  if (!body) co_return error_response(body.error());
  const auto config = model::decode_exec(*body, c.req.version);
  if (!config) co_return error_response(config.error());
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  if (found->record->state.status == model::container_status::paused)
    co_return failed(errc::conflict, "Container " + c.req.param + " is paused, unpause the container before exec");
  if (const auto keys = model::parse_exec_detach_keys(config->value("DetachKeys", std::string())); !keys)
    co_return error_response(keys.error());
  create_exec m;
  m.config = model::dump(*config);
  const auto made = co_await ask_with_deadline(c, found->handle, std::move(m));
  if (!made) co_return error_response(made.error());
  co_return response::json(201, model::dump({{"Id", made->id}}));
}

namespace {
// Docker looks at the container before it looks at the session.
std::optional<error> container_stopped(engine& e, const std::string& exec_id) {
  const auto directory = e.containers();
  const auto found = directory->by_id().find(e.execs().container_of(exec_id));
  if (found == directory->by_id().end()) return std::nullopt;
  const auto& record = *found->second.record;
  if (record.state.status == model::container_status::paused)
    return error(errc::conflict, "Container " + record.name + " is paused, unpause the container before exec");
  if (model::shows_running(record)) return std::nullopt;
  return error(errc::conflict, "container " + record.id + " is not running");
}
}  // namespace

namespace {
// As output of the session, in a piece of its own.
stream words_of(const error& why, bool tty) {
  const auto text = why.message() + "\r\n";
  std::string bytes(tty ? 0 : mux_header_size, '\0');
  if (!tty) put_mux_header(bytes.data(), 1, text.size());
  stream s;
  s.output = std::make_shared<byte_channel>();
  s.output->push(bytes + text);
  s.output->close();
  return s;
}
}  // namespace

// The head goes out before the session starts, as in Docker Engine: some clients (docker-py) lose output that comes in
// one piece with it. What goes wrong after the checks comes as output.
awaitable<response> exec_start(call& c) {
  const auto body = co_await json_body(c);
  if (!body) co_return error_response(body.error());
  const auto options = model::decode_exec_start(*body, c.req.version);
  if (!options) co_return error_response(options.error());
  const auto found = engine_of(c).execs().find(c.req.param);
  if (!found) co_return error_response(found.error());
  if (const auto stopped = container_stopped(engine_of(c), c.req.param)) co_return error_response(*stopped);
  start_exec m;
  m.detach = options->detach;
  m.tty = options->tty;
  m.rows = options->rows;
  m.columns = options->columns;
  if (m.detach) {
    const auto started = co_await ask_with_deadline(c, *found, m);
    co_return started ? response::empty(200) : error_response(started.error());
  }
  co_await c.begin_hijack(hijack_head(c.req, !m.tty, response::standard::all));
  const auto started = co_await ask_with_deadline(c, *found, m);
  auto opened = started ? engine_of(c).context().streams->take(started->stream) : std::nullopt;
  if (opened)
    co_await c.run_hijacked(std::move(*opened));
  else
    co_await c.run_hijacked(
        words_of(started ? error(errc::internal, "the session's stream has gone") : started.error(), m.tty));
  co_return response::sent();
}

awaitable<response> exec_resize(call& c) {
  const auto rows = parse_size("height", c.req.query.get("h"));
  if (!rows) co_return error_response(rows.error());
  const auto columns = parse_size("width", c.req.query.get("w"));
  if (!columns) co_return error_response(columns.error());
  const auto found = engine_of(c).execs().find(c.req.param);
  if (!found) co_return error_response(found.error());
  resize_exec m;
  m.rows = *rows;
  m.columns = *columns;
  const auto resized = co_await ask_with_deadline(c, *found, m);
  co_return resized ? response::empty(200) : error_response(resized.error());
}

awaitable<response> exec_inspect(call& c) {
  const auto found = engine_of(c).execs().find(c.req.param);
  if (!found) co_return error_response(found.error());
  co_return document(co_await ask_with_deadline(c, *found, inspect_exec{}));
}

}  // namespace arca::http
