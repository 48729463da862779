// What changes a container.
#include <nlohmann/json.hpp>

#include "actors/model/create.hpp"
#include "actors/model/list_filters.hpp"
#include "actors/model/signals.hpp"
#include "actors/model/update.hpp"
#include "http/handlers/common.hpp"
#include "persistence/base/text.hpp"

namespace arca::http {
namespace {

std::string json_text(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The `t` of stop and restart: seconds; without it the container's own.
result<int32_t> stop_timeout(const call& c) {
  const auto& text = c.req.query.get("t");
  if (text.empty()) return -2;
  ARCA_TRY(seconds, go_atoi(text));
  return seconds < 0 ? -1 : static_cast<int32_t>(std::min<int64_t>(seconds, std::numeric_limits<int32_t>::max()));
}

// Asks the container that the route names something that is answered with nothing.
template <class Message>
awaitable<result<void>> tell(call& c, Message m) {
  const auto found = container_named(c);
  if (!found) co_return fail(found.error());
  co_return co_await ask_with_deadline(c, found->handle, std::move(m));
}

}  // namespace

awaitable<response> container_create(call& c) {
  if (auto typed = check_json_type(c.req); !typed) co_return error_response(typed.error());
  auto body = co_await c.read_body(largest_json_body);
  if (!body) co_return error_response(body.error().wrap("invalid JSON"));
  const auto directory = engine_of(c).containers();
  const auto lookup = [&directory](const std::string& name) -> result<std::string> {
    ARCA_TRY(found, directory->find(name));
    return found.record->id;
  };
  create_container m;
  m.platform = c.req.query.get("platform");
  const auto decoded = model::decode_create(*body, c.req.version, m.platform, model::this_host(), {}, lookup);
  if (!decoded) co_return error_response(decoded.error());
  m.name = c.req.query.get("name");
  m.body = json_text(*decoded);
  const auto made = co_await ask_with_deadline(c, engine_of(c).context().containers, std::move(m));
  if (!made) co_return error_response(made.error());
  co_return response::json(201, json_text({{"Id", made->id}, {"Warnings", made->warnings}}));
}

awaitable<response> container_start(call& c) {
  if (c.req.content_length > 7 || c.req.content_length < 0)
    co_return failed(
        errc::invalid_argument,
        "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
  if (!c.req.query.get("checkpoint").empty())
    co_return failed(errc::invalid_argument, "checkpoint is only supported in experimental mode");
  if (!c.req.query.get("checkpoint-dir").empty()) {
    const auto found = container_named(c);
    if (!found) co_return error_response(found.error());
    if (!model::shows_running(*found->record))
      co_return failed(errc::forbidden, "custom checkpointdir is not supported");
  }
  co_return done(co_await tell(c, start_container{}));
}

awaitable<response> container_stop(call& c) {
  stop_container m;
  if (!c.req.version.before(42)) m.signal = c.req.query.get("signal");
  const auto timeout = stop_timeout(c);
  if (!timeout) co_return error_response(timeout.error());
  m.timeout = *timeout;
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  const auto stopped = co_await ask_with_deadline(c, found->handle, std::move(m));
  if (!stopped && stopped.error().code() != errc::not_modified)
    co_return failed(errc::internal, "cannot stop container: " + c.req.param + ": " + stopped.error().message());
  co_return done(stopped);
}

awaitable<response> container_restart(call& c) {
  restart_container m;
  if (!c.req.version.before(42)) m.signal = c.req.query.get("signal");
  const auto timeout = stop_timeout(c);
  if (!timeout) co_return error_response(timeout.error());
  m.timeout = *timeout;
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  const auto restarted = co_await ask_with_deadline(c, found->handle, std::move(m));
  if (!restarted) {
    const auto why = restarted.error().wrap("Cannot restart container " + c.req.param);
    co_return failed(why.code() == errc::invalid_argument ? errc::internal : why.code(), why.message());
  }
  co_return done(restarted);
}

awaitable<response> container_kill(call& c) {
  kill_container m;
  m.signal = c.req.query.get("signal");
  result<void> killed;
  if (const auto number = m.signal.empty() ? result<int>(9) : model::parse_signal(m.signal); !number) {
    killed = fail(number.error());
  } else if (!model::valid_signal(*number)) {
    killed = fail(errc::invalid_argument, "the linux daemon does not support signal " + std::to_string(*number));
  } else {
    killed = co_await tell(c, std::move(m));
  }
  if (!killed) co_return error_response(killed.error().wrap("cannot kill container: " + c.req.param));
  co_return done(killed);
}

awaitable<response> container_pause(call& c) {
  co_return done(co_await tell(c, pause_container{}));
}
awaitable<response> container_unpause(call& c) {
  co_return done(co_await tell(c, unpause_container{}));
}

awaitable<response> container_resize(call& c) {
  const auto rows = parse_size("height", c.req.query.get("h"));
  if (!rows) co_return error_response(rows.error());
  const auto columns = parse_size("width", c.req.query.get("w"));
  if (!columns) co_return error_response(columns.error());
  resize_container m;
  m.rows = *rows;
  m.columns = *columns;
  const auto resized = co_await tell(c, std::move(m));
  co_return resized ? response::empty(200) : error_response(resized.error());
}

awaitable<response> container_rename(call& c) {
  rename_container m;
  m.name = c.req.query.get("name");
  if (m.name.empty()) co_return failed(errc::invalid_argument, "Neither old nor new names may be empty");
  co_return done(co_await tell(c, std::move(m)));
}

awaitable<response> container_update(call& c) {
  auto body = co_await json_body(c);
  if (!body) co_return error_response(body.error());
  if (auto sound = model::decode_update(*body, c.req.version); !sound) co_return error_response(sound.error());
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  update_container m;
  m.body = std::move(*body);
  const auto updated = co_await ask_with_deadline(c, found->handle, std::move(m));
  if (!updated) co_return error_response(updated.error());
  nlohmann::json answer{{"Warnings", nullptr}};
  if (!updated->warnings.empty()) answer["Warnings"] = updated->warnings;
  co_return response::json(200, json_text(answer));
}

awaitable<response> container_remove(call& c) {
  remove_container m;
  m.force = c.req.query.flag("force");
  m.volumes = c.req.query.flag("v");
  m.link = c.req.query.flag("link");
  auto removed = co_await tell(c, m);
  if (!removed && removed.error().code() == errc::conflict && removed.error().message().starts_with("container is "))
    removed = fail(removed.error().wrap("cannot remove container " + go_quote(c.req.param)));
  co_return done(removed);
}

awaitable<response> container_prune(call& c) {
  const auto filters = model::filters::parse(c.req.query.get("filters"));
  if (!filters) co_return error_response(filters.error());
  if (const auto good = model::check_prune_filters(*filters); !good) co_return error_response(good.error());
  prune_containers m;
  m.filters = filters->to_json();
  co_return document(co_await ask_with_deadline(c, engine_of(c).context().containers, std::move(m)));
}

}  // namespace arca::http
