#include "actors/container/container.hpp"

#include <caf/actor_system.hpp>

#include "actors/model/log_options.hpp"
#include "actors/model/summary.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "persistence/base/log.hpp"

namespace arca {

container::container(caf::actor_config& config, container_services services, container_manager_internal manager,
                     std::shared_ptr<const model::container_record> record)
    : tracked(config, *services.ctx.actors, "/containers/" + record->id.substr(0, 12), "container"),
      s_(services),
      manager_(std::move(manager)),
      record_(*record) {
  set_exception_handler([this](std::exception_ptr& e) -> caf::error {
    try {
      std::rethrow_exception(e);
    } catch (const std::exception& what) {
      log::error("container actor threw", log::kv("container", record_.id), log::kv("what", what.what()));
      return caf_error(errc::internal, what.what());
    }
  });
}

container::behavior_type container::make_behavior() {
  return {
      [this](const create_container& r) { return create(r); },
      [this](const start_container&) { return start(); },
      [this](const stop_container& r) { return stop(r); },
      [this](const restart_container& r) { return restart(r); },
      [this](const kill_container& r) { return kill(r); },
      [this](const pause_container&) { return pause(true); },
      [this](const unpause_container&) { return pause(false); },
      [this](const resize_container& r) { return resize(r); },
      [this](const rename_container& r) { return rename(r); },
      [this](const update_container& r) { return update(r); },
      [this](const remove_container& r) { return remove(r); },
      [this](const inspect_container& r) { return inspect(r); },
      [this](const top_container& r) { return top(r); },
      [this](const wait_container& r) { return wait(r); },
      [this](const cancel_wait& r) {
        std::erase_if(waiters_, [&](waiter& w) {
          if (w.ticket != r.ticket) return false;
          w.promise.deliver(caf_error(errc::cancelled, "the client went away"));
          return true;
        });
      },
      [this](const attach_container& r) { return attach_client(r); },
      [this](const read_logs& r) { return logs(r); },
      [this](const create_exec& r) { return create_exec_session(r); },
      [this](const machine_stats&) { return stats(); },
      [this](const machine_exited& r) { on_machine_exited(r); },
      [this](const machine_oom& r) {
        if (r.generation == record_.generation) event("oom");
      },
      [this](const find_machine&) { return running_machine(); },
      [this](const machine_unresponsive& r) { on_unresponsive(r); },
      [this](const resume_container& r) { return take_up(r); },
      [this](const stop_with_daemon& r) { return stop_for_daemon(r); },
      [this](const timer_due& r) { on_timer(r); },
  };
}

void container::on_exit() {
  for (auto& w : waiters_) w.promise.deliver(caf_error(errc::unavailable, "the container's actor has ended"));
  waiters_.clear();
  later_.clear();
  on_stopped_.clear();
  machine_ = nullptr;
  manager_ = nullptr;
  create_finished_ = nullptr;
}

std::string container::container_dir() const {
  return s_.ctx.config.data_root + "/containers/" + record_.id;
}

container_entry container::entry() const {
  container_entry e;
  e.record = std::make_shared<const model::container_record>(record_);
  e.summary = std::make_shared<const std::string>(model::make_summary(record_));
  e.handle = caf::actor_cast<container_actor>(const_cast<container*>(this)->ctrl());
  return e;
}

namespace {
commit_rows row_of(const model::container_record& record) {
  row_change row;
  row.in = table::containers;
  row.key = record.id;
  row.unique = record.name;
  row.document = model::to_document(record);
  commit_rows commit;
  commit.changes.push_back(std::move(row));
  return commit;
}
}  // namespace

void container::show(done then) {
  publish_container p;
  p.entry = entry();
  request(manager_, caf::infinite, std::move(p))
      .then([then] { then({}); }, [then](caf::error& e) { then(std::move(e)); });
}

void container::save(done then) {
  request(s_.ctx.store, caf::infinite, row_of(record_))
      .then(
          [this, then] {
            if (unsaved_exit_) acknowledge_exit_of(std::exchange(unsaved_exit_, nullptr));
            show(then);
          },
          [then](caf::error& e) { then(std::move(e)); });
}

/// The exit is safe: the machine may forget it and end.
void container::acknowledge_exit_of(const machine_actor& machine) {
  acknowledge_exit ack;
  ack.container_id = record_.id;
  ack.process_id = "init";
  request(machine, caf::infinite, std::move(ack)).then([] {}, [](caf::error&) { /* the machine is gone already */ });
}

void container::save_behind() {
  request(s_.ctx.store, caf::infinite, row_of(record_))
      .then([] {},
            [this](caf::error& e) {
              log::error("container row not saved", log::kv("container", record_.id),
                         log::kv("reason", from_caf(e).message()));
            });
}

void container::event(std::string action, std::map<std::string, std::string> more) {
  publish_event e;
  e.type = "container";
  e.action = std::move(action);
  e.actor_id = record_.id;
  e.attributes = std::move(more);
  e.attributes.emplace("image", record_.image_ref);
  e.attributes.emplace("name", record_.name);
  if (const auto labels = record_.config.find("Labels"); labels != record_.config.end() && labels->is_object())
    for (const auto& [key, value] : labels->items())
      if (value.is_string()) e.attributes.emplace(key, value.get<std::string>());
  send(s_.ctx.events, std::move(e));
}

void container::network_event(const std::string& action) {
  for (const auto& settings : record_.endpoints) {
    publish_event e;
    e.type = "network";
    e.action = action;
    e.actor_id = settings.network_id;
    e.attributes = {{"container", record_.id}, {"name", settings.network_name}, {"type", settings.driver}};
    send(s_.ctx.events, std::move(e));
  }
}

void container::volume_event(const std::string& action) {
  for (const auto& mount : record_.mounts) {
    if (mount.type != "volume") continue;
    publish_event e;
    e.type = "volume";
    e.action = action;
    e.actor_id = mount.name;
    e.attributes = {{"container", record_.id}, {"driver", mount.driver.empty() ? "local" : mount.driver}};
    if (action == "mount") {
      e.attributes["destination"] = mount.destination;
      e.attributes["read/write"] = mount.read_write ? "true" : "false";
      e.attributes["propagation"] = mount.propagation;
    }
    send(s_.ctx.events, std::move(e));
  }
}

void container::run_later() {
  auto waiting = std::move(later_);
  later_.clear();
  for (auto& work : waiting) work();
}

result<log_options> container::log_settings() const {
  model::log_tag_fields fields;
  fields.id = record_.id;
  fields.name = record_.name;
  fields.image_id = record_.image_id;
  fields.image_name = record_.image_ref;
  const auto command = model::command_of(record_);
  fields.command = command.path;
  for (const auto& arg : command.args) fields.command += ' ' + arg;
  ARCA_TRY(parsed, model::resolve_log_options(record_.host_config.value("LogConfig", nlohmann::json::object()),
                                              s_.ctx.config.log_opts, record_.config, fields));
  log_options o;
  if (parsed.driver != "none") o.path = record_.log_path;
  o.max_size = parsed.max_size;
  o.max_file = parsed.max_files;
  o.attributes = std::move(parsed.attributes);
  return o;
}

/// The process_io of init is kept in the registry beside the mailboxes: a restarted actor finds channels and clients.
void container::make_io() {
  io_ = s_.ctx.processes->find(record_.id, "init");
  if (io_) return;
  process_io::options o;
  o.tty = record_.config.value("Tty", false);
  o.open_stdin = record_.config.value("OpenStdin", false);
  o.stdin_once = record_.config.value("StdinOnce", false);
  if (auto log = log_settings()) o.log = std::move(*log);  // a wrong option is reported by start, as Docker does
  io_ = process_io::make(*s_.ctx.stdio, std::move(o));
  s_.ctx.processes->put(record_.id, "init", io_);
}

container_internal spawn_container(caf::actor_system& system, container_services services,
                                   container_manager_internal manager,
                                   std::shared_ptr<const model::container_record> record) {
  return system.spawn<container>(services, std::move(manager), std::move(record));
}

}  // namespace arca
