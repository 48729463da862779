// wait, attach, logs, and the making of exec sessions.
#include <fcntl.h>

#include <algorithm>

#include "actors/container/container.hpp"
#include "actors/model/detach_keys.hpp"
#include "actors/model/exec.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/oci/user.hpp"

namespace arca {

caf::result<wait_result> container::wait(const wait_container& request) {
  auto promise = make_response_promise<wait_result>();
  const auto condition = request.condition.empty() ? "not-running" : request.condition;
  const auto status = record_.state.status;
  const bool running = status == container_status::running || status == container_status::paused ||
                       status == container_status::stopping || status == container_status::restarting ||
                       status == container_status::starting;
  if (condition == "not-running" && !running) {
    wait_result r;
    r.code = record_.state.exit_code;
    promise.deliver(std::move(r));
    return promise;
  }
  waiters_.push_back({condition, request.ticket, promise});
  return promise;
}

void container::answer_waiters(std::initializer_list<std::string_view> conditions) {
  wait_result r;
  r.code = record_.state.exit_code;
  std::erase_if(waiters_, [&](waiter& w) {
    if (std::find(conditions.begin(), conditions.end(), w.condition) == conditions.end()) return false;
    w.promise.deliver(r);
    return true;
  });
}

caf::result<attached_stream> container::attach_client(const attach_container& request) {
  const auto& cell = check(stimulus::attach);
  if (cell.decision != verdict::go) return to_caf(refusal(cell, record_));
  auto keys = model::parse_detach_keys(request.detach_keys);
  if (!keys) return to_caf(keys.error());
  attach_options o;
  o.in = request.in;
  o.out = request.out;
  o.err = request.err;
  o.stream = request.stream;
  o.logs = request.logs;
  attached_stream answer;
  answer.tty = record_.config.value("Tty", false);
  o.framed = request.framed && !answer.tty;
  o.detach_keys = answer.tty || request.in ? *keys : std::string();
  answer.stream = s_.ctx.streams->put(io_->attach(o));
  event("attach");
  return answer;
}

caf::result<attached_stream> container::logs(const read_logs& request) {
  log_query q;
  q.out = request.out;
  q.err = request.err;
  q.follow = request.follow && record_.state.status != container_status::dead;
  q.timestamps = request.timestamps;
  q.details = request.details;
  q.since = request.since;
  q.until = request.until;
  q.tail = request.tail;
  attached_stream answer;
  answer.tty = record_.config.value("Tty", false);
  q.framed = !answer.tty;
  const auto status = record_.state.status;
  if (q.follow && (status == container_status::exited || status == container_status::created)) q.follow = false;
  auto opened = io_->read_log(q);
  if (!opened) return to_caf(opened.error());
  answer.stream = s_.ctx.streams->put(std::move(*opened));
  return answer;
}

caf::result<created_exec> container::create_exec_session(const create_exec& request) {
  auto promise = make_response_promise<created_exec>();
  try_create_exec(request, promise);
  return promise;
}

void container::try_create_exec(const create_exec& request, caf::typed_response_promise<created_exec> promise) {
  const auto& cell = check(stimulus::exec);
  if (cell.decision == verdict::later) {
    later_.push_back([this, request, promise] { try_create_exec(request, promise); });
    return;
  }
  if (cell.decision != verdict::go || !machine_) {
    promise.deliver(to_caf(cell.decision == verdict::refuse
                               ? refusal(cell, record_)
                               : error(errc::conflict, "container " + record_.id + " is not running")));
    return;
  }
  auto finish = [this, promise, config = request.config](const result<void>& user) mutable {
    if (!user) {
      promise.deliver(to_caf(user.error()));
      return;
    }
    const auto shown = s_.directory.get()->find(record_.id);
    if (!machine_ || !shown) {  // it ended meanwhile
      promise.deliver(caf_error(errc::conflict, "container " + record_.id + " is not running"));
      return;
    }
    created_exec answer;
    answer.id = random_hex(32);
    s_.execs.put(answer.id, record_.id, spawn_exec(system(), s_, shown->record, answer.id, config, machine_));
    event("exec_create: " + exec_command(config), {{"execID", answer.id}});
    promise.deliver(std::move(answer));
  };
  const auto config = nlohmann::json::parse(request.config, nullptr, false);
  const auto user = config.is_object() ? config.value("User", std::string()) : std::string();
  const bool numeric = user.find_first_not_of("0123456789:") == std::string::npos;
  if (user.empty() || numeric || record_.state.pid == 0) {
    finish({});
    return;
  }
  offload(
      this, *s_.ctx.port, *s_.ctx.pool,
      [user, pid = record_.state.pid]() -> result<void> {
        ARCA_TRY(root, fs::open("/proc/" + std::to_string(pid) + "/root", O_PATH | O_DIRECTORY));
        auto found = oci::resolve_user(root.get(), user, {});
        if (!found) return fail(errc::invalid_argument, found.error().message());
        return {};
      },
      [finish](const result<void>& found) mutable { finish(found); });
}

}  // namespace arca
