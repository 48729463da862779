// wait, logs and attach: answers that last as long as the container.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <caf/send.hpp>
#include <nlohmann/json.hpp>

#include "actors/model/detach_keys.hpp"
#include "actors/streams/byte_channel.hpp"
#include "http/handlers/common.hpp"
#include "http/head.hpp"
#include "http/signal.hpp"

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace arca::http {
namespace {

// A wait that has been sent to the container's actor and not yet answered.
struct open_wait {
  explicit open_wait(const asio::any_io_executor& executor) : answered(executor) {}
  ask_canceller canceller;
  std::optional<result<wait_result>> answer;
  bool given_up = false;
  signal answered;
};

awaitable<void> ask_wait(ask_port& port, container_actor to, wait_container m, std::shared_ptr<open_wait> w) {
  w->answer = co_await ask(port, to, ask_options{.canceller = &w->canceller}, std::move(m));
  w->answered.notify();
}

// When the container's actor has ended: what the directory knows of the container, if that answers the wait.
std::optional<wait_result> answer_without_actor(engine& e, const container_entry& known, const std::string& condition) {
  const auto now = e.containers();
  const auto found = now->by_id().find(known.record->id);
  const bool removed = found == now->by_id().end();
  const auto& record = removed ? *known.record : *found->second.record;
  if (!removed && (condition == "removed" || model::shows_running(record))) return std::nullopt;
  wait_result r;
  r.code = record.state.exit_code;
  return r;
}

std::string wait_text(const wait_result& r) {
  nlohmann::json text{{"StatusCode", r.code}};
  if (!r.error.empty()) text["Error"] = {{"Message", r.error}};
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

// The header goes out at once (API 1.30), but only after the wait is in the container's mailbox: `docker run` starts
// the container when it has seen the header.
awaitable<response> container_wait(call& c) {
  std::string condition = "not-running";
  if (const auto& given = c.req.query.get("condition"); !given.empty() && !c.req.version.before(30)) {
    if (given != "not-running" && given != "next-exit" && given != "removed")
      co_return failed(errc::invalid_argument, "invalid condition: \"" + given + "\"");
    condition = given;
  }
  auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  static std::atomic<uint64_t> last_ticket{0};
  const auto ticket = ++last_ticket;
  const auto executor = co_await asio::this_coro::executor;
  const auto open = std::make_shared<open_wait>(executor);
  const bool header_first = !c.req.version.before(30);
  bool begun = false;
  for (;;) {
    wait_container m;
    m.condition = condition;
    m.ticket = ticket;
    open->answer.reset();
    asio::co_spawn(executor, ask_wait(c.port(), found->handle, std::move(m), open),
                   [open](const std::exception_ptr&) {});
    co_await asio::post(executor, asio::use_awaitable);  // ask_wait has run to its suspension
    if (!begun && header_first && !co_await c.start(response::json(200, ""))) co_return response::broken();
    if (!begun)
      c.on_gone([open, ticket, handle = found->handle] {
        cancel_wait cancel;
        cancel.ticket = ticket;
        caf::anon_send(handle, std::move(cancel));
        open->given_up = true;
        open->canceller.cancel();
      });
    begun = true;
    while (!open->answer) co_await open->answered.wait();
    if (open->given_up) co_return response::broken();
    const auto& answer = *open->answer;
    std::optional<wait_result> final;
    if (answer) {
      final = *answer;
    } else if (answer.error().code() == errc::unavailable) {  // its supervisor restarts it, or it has been removed
      final = answer_without_actor(engine_of(c), *found, condition);
      if (!final) {
        asio::steady_timer pause(executor, 100ms);
        co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
        if (auto again = engine_of(c).containers()->find(found->record->id)) found = std::move(again);
        continue;
      }
    } else {
      final.emplace();
      final->code = -1;
      final->error = answer.error().message();
    }
    if (!header_first) co_return response::json(200, wait_text(*final));
    co_await c.write(wait_text(*final));
    co_return response::sent();
  }
}

awaitable<response> container_logs(call& c) {
  const auto& q = c.req.query;
  read_logs m;
  m.out = q.flag("stdout");
  m.err = q.flag("stderr");
  if (!m.out && !m.err) co_return failed(errc::invalid_argument, "Bad parameters: you must choose at least one stream");
  const auto found = container_named(c);
  if (!found) co_return error_response(found.error());
  m.follow = q.flag("follow");
  m.timestamps = q.flag("timestamps");
  m.details = q.flag("details");
  const auto since = parse_timestamp(q.get("since"));
  if (!since) co_return error_response(since.error());
  const auto until = parse_timestamp(q.get("until"));
  if (!until) co_return error_response(until.error());
  m.since = *since;
  m.until = *until;
  if (const auto lines = go_atoi(q.get("tail")); lines && *lines >= 0) m.tail = *lines;
  const auto attached = co_await ask_with_deadline(c, found->handle, std::move(m));
  if (!attached) co_return error_response(attached.error());
  auto opened = engine_of(c).context().streams->take(attached->stream);
  if (!opened) co_return failed(errc::internal, "the log's stream has gone");
  auto head = response::empty(200);
  head.content_type = !attached->tty && !c.req.version.before(42) ? "application/vnd.docker.multiplexed-stream"
                                                                  : "application/vnd.docker.raw-stream";
  if (!co_await c.start(std::move(head))) opened->output->abort();
  const auto copied = co_await c.copy(opened->output);
  co_return copied ? response::sent() : response::broken();
}

// Errors are raw text, as Docker has taken the connection out of HTTP by then.
awaitable<response> container_attach(call& c) {
  const auto& q = c.req.query;
  std::optional<error> refused;
  const auto keys = model::parse_detach_keys(q.get("detachKeys"));
  const auto found = container_named(c);
  if (!keys) {
    refused = keys.error();
  } else if (!found) {
    refused = found.error();
  } else if (found->record->state.status == model::container_status::paused) {
    refused.emplace(errc::conflict, "container " + c.req.param + " is paused, unpause the container before attach");
  } else {
    attach_container m;
    m.logs = q.flag("logs");
    m.stream = q.flag("stream");
    m.in = q.flag("stdin");
    m.out = q.flag("stdout");
    m.err = q.flag("stderr");
    m.detach_keys = q.get("detachKeys");
    const auto attached = co_await ask_with_deadline(c, found->handle, std::move(m));
    if (attached) {
      auto opened = engine_of(c).context().streams->take(attached->stream);
      if (opened) {
        co_await c.hijack(hijack_head(c.req, !attached->tty, response::standard::none), std::move(*opened));
        co_return response::sent();
      }
      refused.emplace(errc::internal, "the container's stream has gone");
    } else {
      refused = attached.error();
    }
  }
  co_await c.hijack(hijack_error(status_of(refused->code()), refused->message()), {});
  co_return response::sent();
}

}  // namespace arca::http
