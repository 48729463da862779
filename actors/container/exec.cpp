// One exec session: created → running → exited. Ends when nobody has its handle any more: exec_index says when.
#include <caf/typed_event_based_actor.hpp>

#include "actors/container/internal.hpp"
#include "actors/core/errors.hpp"
#include "actors/core/promise.hpp"
#include "actors/model/detach_keys.hpp"
#include "actors/model/exec.hpp"
#include "actors/streams/process_io.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "persistence/base/text.hpp"

namespace arca {

std::string exec_command(const std::string& config) {
  std::string text;
  const auto document = nlohmann::json::parse(config, nullptr, false);
  if (!document.is_object()) return text;
  const auto words = document.value("Cmd", nlohmann::json::array());
  for (const auto& part : words)
    if (part.is_string()) text += (text.empty() ? "" : " ") + part.get<std::string>();
  if (words.size() == 1) text += ' ';  // Docker: the program, a space, the arguments
  return text;
}

namespace {

constexpr int exit_killed = 137;
constexpr auto resize_patience =
    std::chrono::seconds(9);  ///< Docker Engine has 10, which here is all that the request may take

class exec_session : public tracked<exec_internal::base> {
 public:
  exec_session(caf::actor_config& config, container_services services,
               std::shared_ptr<const model::container_record> container, std::string id, std::string exec_config,
               machine_actor machine)
      : tracked(config, *services.ctx.actors,
                "/containers/" + container->id.substr(0, 12) + "/exec/" + id.substr(0, 12), "exec"),
        s_(services),
        container_(std::move(container)),
        id_(std::move(id)),
        config_(nlohmann::json::parse(exec_config, nullptr, false)),
        machine_(std::move(machine)) {
    set_down_handler([this](caf::down_msg&) {
      if (!goes_on()) container_ended();
    });
    monitor(machine_);
  }

  behavior_type make_behavior() override {
    return {
        [this](const start_exec& r) { return start(r); },
        [this](const resize_exec& r) { return resize(r); },
        [this](const inspect_exec&) {
          model::exec_state state;
          state.id = id_;
          state.container_id = container_->id;
          state.running = status_ == status::running || status_ == status::starting;
          state.exited = exit_code_.has_value();
          state.exit_code = exit_code_.value_or(0);
          state.pid = pid_;
          json_document d;
          d.text = model::exec_inspect_json(state, config_);
          return d;
        },
        [this](const machine_exited& report) { exited(report.exit_code); },
        [this](const resizes_due& due) {
          if (due.ticket == resize_ticket_) answer_early_resizes();
        },
    };
  }

  void on_exit() override {
    machine_ = nullptr;
    container_ended();
  }

 private:
  enum class status : uint8_t { created, starting, running, exited };

  caf::result<attached_stream> start(const start_exec& request) {
    auto promise = make_response_promise<attached_stream>();
    const auto now = shown();
    const auto container_status = now == nullptr ? model::container_status::dead : now->state.status;
    if (container_status == model::container_status::paused) {
      promise.deliver(
          caf_error(errc::conflict, "Container " + container_->name + " is paused, unpause the container before exec"));
      return promise;
    }
    if (container_status != model::container_status::running && container_status != model::container_status::stopping) {
      promise.deliver(caf_error(errc::conflict, "container " + container_->id + " is not running"));
      return promise;
    }
    if (status_ != status::created) {
      promise.deliver(caf_error(errc::conflict, "exec command " + id_ + " has already run"));
      return promise;
    }
    status_ = status::starting;
    const bool tty = config_.value("Tty", false);
    const bool in = config_.value("AttachStdin", false);
    process_io::options io;
    io.tty = tty;
    io.open_stdin = in && !request.detach;
    io.stdin_once = true;
    io_ = process_io::make(*s_.ctx.stdio, std::move(io));
    s_.ctx.processes->put(container_->id, id_, io_);
    attached_stream answer;
    answer.tty = request.tty;  // whatever the process has
    if (!request.detach) {
      attach_options o;
      o.in = in;
      o.out = config_.value("AttachStdout", false);
      o.err = config_.value("AttachStderr", false);
      o.framed = !answer.tty;
      if (auto keys = model::parse_detach_keys(config_.value("DetachKeys", "")); keys && in) o.detach_keys = *keys;
      answer.stream = s_.ctx.streams->put(io_->attach(o));
    }
    auto process = config_;
    process["AttachStdin"] = in && !request.detach;
    if (request.rows != 0 || request.columns != 0) process["ConsoleSize"] = {request.rows, request.columns};
    event("exec_start: " + exec_command(config_.dump()), {});
    start_process s;
    s.container_id = container_->id;
    s.process_id = id_;
    s.process = process.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    give_up_ = [this, promise, answer](const error& why) mutable {
      const auto text = lower(why.message());
      exited(text.find("permission denied") != std::string::npos ? 126
             : why.code() == errc::invalid_argument || text.find("no such file or directory") != std::string::npos
                 ? 127
                 : 128);
      if (auto unused = s_.ctx.streams->take(answer.stream); unused && unused->output) unused->output->abort();
      promise.deliver(to_caf(why));
    };
    this->request(machine_, caf::infinite, std::move(s))
        .then(
            [this, promise, answer](const process_started& started) mutable {
              if (!std::exchange(give_up_, nullptr)) return;
              if (status_ == status::starting) status_ = status::running;
              pid_ = started.pid;
              answer_early_resizes();
              promise.deliver(std::move(answer));
            },
            [this](caf::error& e) { not_started(from_caf(e)); });
    return promise;
  }

  caf::result<void> resize(const resize_exec& request) {
    auto promise = make_response_promise<void>();
    if (status_ == status::created || status_ == status::starting) {
      if (early_resizes_.empty()) {
        resizes_due due;
        due.ticket = ++resize_ticket_;
        delayed_send(this, resize_patience, due);
      }
      early_resizes_.emplace_back(request, promise);
    } else {
      answer_resize(request, promise);
    }
    return promise;
  }

  void answer_resize(const resize_exec& request, caf::typed_response_promise<void> promise) {
    if (status_ == status::exited) {
      promise.deliver(caf_error(errc::not_found, "NotFound: process does not exist " + id_ + ": not found"));
    } else if (status_ == status::running && io_) {
      io_->resize(request.rows, request.columns);
      deliver_ok(promise);
    } else {
      promise.deliver(caf_error(errc::internal, "timeout waiting for exec session ready"));
    }
  }

  /// Of a client that has been told of the session before its process was there.
  void answer_early_resizes() {
    for (auto& [request, promise] : std::exchange(early_resizes_, {})) answer_resize(request, promise);
  }

  /// Null when the container is gone.
  std::shared_ptr<const model::container_record> shown() const {
    const auto all = s_.directory.get();
    const auto found = all->by_id().find(container_->id);
    return found == all->by_id().end() ? nullptr : found->second.record;
  }

  /// The container's actor has failed, and its machine's with it: new ones take over what runs.
  bool goes_on() const {
    const auto now = shown();
    return status_ == status::running && now != nullptr && now->generation == container_->generation &&
           now->state.pid != 0;
  }

  /// A machine that ends answers no call any more and reports no exit: not of an exec whose client had not yet read all
  /// of its output.
  void container_ended() {
    not_started({errc::conflict, "container " + container_->id + " is not running"});
    if (status_ == status::running) exited(exit_killed);
    if (status_ == status::created) s_.execs.erase(id_);
  }

  void not_started(const error& why) {
    if (const auto give_up = std::exchange(give_up_, nullptr)) give_up(why);
  }

  /// The code is known before the stream's EOF: machine_exited is sent when the output is complete, finish() ends it.
  void exited(int code) {
    if (status_ == status::exited) return;
    status_ = status::exited;
    exit_code_ = code;
    answer_early_resizes();
    s_.execs.exited(id_);
    if (io_) io_->finish();
    s_.ctx.processes->erase(container_->id, id_);
    io_ = nullptr;
    event("exec_die", {{"exitCode", std::to_string(code)}});
    if (machine_) {
      acknowledge_exit ack;
      ack.container_id = container_->id;
      ack.process_id = id_;
      request(machine_, caf::infinite, std::move(ack)).then([] {}, [](caf::error&) { /* the machine has ended */ });
      demonitor(machine_.address());
      machine_ = nullptr;
    }
  }

  void event(std::string action, std::map<std::string, std::string> attributes) {
    const auto now = shown();
    const auto& record = now == nullptr ? *container_ : *now;
    publish_event e;
    e.type = "container";
    e.action = std::move(action);
    e.actor_id = record.id;
    e.attributes = std::move(attributes);
    e.attributes["execID"] = id_;
    e.attributes["image"] = record.image_ref;
    e.attributes["name"] = record.name;
    if (const auto labels = record.config.find("Labels"); labels != record.config.end() && labels->is_object())
      for (const auto& [key, value] : labels->items())
        if (value.is_string()) e.attributes.emplace(key, value.get<std::string>());
    send(s_.ctx.events, std::move(e));
  }

  container_services s_;
  std::shared_ptr<const model::container_record> container_;  ///< as it was when this was created
  std::string id_;
  nlohmann::json config_;
  machine_actor machine_;
  std::shared_ptr<process_io> io_;
  status status_ = status::created;
  std::function<void(const error&)> give_up_;  ///< while the start is asked for
  std::vector<std::pair<resize_exec, caf::typed_response_promise<void>>> early_resizes_;
  uint64_t resize_ticket_ = 0;
  std::optional<int32_t> exit_code_;
  int64_t pid_ = 0;
};

}  // namespace

exec_actor spawn_exec(caf::actor_system& system, container_services services,
                      std::shared_ptr<const model::container_record> container, std::string id, std::string config,
                      machine_actor machine) {
  return system.spawn<exec_session>(services, std::move(container), std::move(id), std::move(config),
                                    std::move(machine));
}

}  // namespace arca
