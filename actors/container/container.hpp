// The actor of one container. Its parts, one file each: create, start and exit (lifecycle), stop/kill/pause (control),
// removal, streams and execs (streams), recovery (resume). state.hpp decides what is legal; record_ is the truth that
// is persisted before it is answered.
#pragma once
#include <caf/typed_event_based_actor.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "actors/container/internal.hpp"
#include "actors/container/state.hpp"
#include "actors/core/errors.hpp"
#include "actors/core/promise.hpp"
#include "actors/model/mounts.hpp"
#include "actors/streams/process_io.hpp"

namespace arca {

class container : public tracked<container_internal::base> {
 public:
  container(caf::actor_config& config, container_services services, container_manager_internal manager,
            std::shared_ptr<const model::container_record> record);
  behavior_type make_behavior() override;
  void on_exit() override;

 private:
  using done = std::function<void(caf::error)>;  ///< called once; an empty error is success
  using unit_promise = caf::typed_response_promise<void>;

  // ---- create (container_create.cpp)
  caf::result<created_container> create(const create_container& request);
  void create_with_image(const resolved_image& image);
  void create_named(const std::string& name);
  result<void> fits_in_vm() const;
  void acquire_volumes(size_t next);
  void make_files();
  void create_done(const result<std::vector<std::string>>& layers);
  void create_failed(const error& why);

  // ---- start and exit (container_lifecycle.cpp)
  caf::result<void> start();
  void try_start(unit_promise promise);
  /// What a start finds: a container that is about to be removed is as good as gone, and one whose end is not yet on
  /// record has not ended.
  const transition& start_cell() const;
  /// A start that no policy made: the back-off and the count of restarts begin anew.
  void start_afresh(done finished);
  void begin_start(done finished);
  result<void> check_supported() const;
  void allocate_networks(done finished);
  void launch_in_machine(std::vector<endpoint> endpoints, std::vector<joined_namespace> joined, done finished);
  void launched(const machine_started& started, done finished);
  void undo_unsaved_start(caf::error why, uint64_t generation, done finished);
  void launch_failed(const error& why, done finished);
  void on_machine_exited(const machine_exited& report);
  void init_exited(const machine_exited& report);
  void after_exit(bool was_stopping);
  void schedule_restart();
  void keep_details(const std::string& text);
  void forget_addresses();

  // ---- namespaces shared with others (container_pods.cpp)
  /// Whom it joins at this start, in Docker's words if it cannot.
  result<std::vector<joined_namespace>> find_donors();
  result<void> find_links();
  result<void> choose_machine_beside(const directory& all);
  /// Others are in its network namespace, which so goes on without it.
  bool has_network_guests() const;

  // ---- stop, kill, pause … (container_control.cpp)
  caf::result<void> stop(const stop_container& request);
  caf::result<void> stop_for_daemon(const stop_with_daemon& request);
  void try_stop_for_daemon(int timeout, unit_promise promise);
  void begin_stop(int signal, int timeout, done finished);
  void cancel_restart(done cancelled);
  void end_init(int signal, int timeout, bool was_paused);
  void send_init(int signal);
  void stop_again();
  void kill_now(const done& failed = [](const caf::error&) {});
  caf::result<void> restart(const restart_container& request);
  void try_restart(const restart_container& request, unit_promise promise);
  void start_again(unit_promise promise);
  caf::result<void> kill(const kill_container& request);
  void try_kill(int signal, unit_promise promise);
  void signal_init(int signal, unit_promise promise);
  caf::result<void> pause(bool freeze);
  void try_pause(bool freeze, done finished);
  caf::result<void> resize(const resize_container& request);
  caf::result<void> rename(const rename_container& request);
  caf::result<updated_container> update(const update_container& request);
  caf::result<json_document> inspect(const inspect_container& request);
  caf::result<json_document> top(const top_container& request);
  caf::result<json_document> stats();
  caf::result<machine_actor> running_machine() const;
  void on_unresponsive(const machine_unresponsive& report);
  void on_timer(const timer_due& timer);

  // ---- removal (container_remove.cpp)
  caf::result<void> remove(const remove_container& request);
  void try_remove(const remove_container& request, unit_promise promise);
  void begin_remove(bool volumes, done finished);

  // ---- wait, attach, logs, exec (container_streams.cpp)
  caf::result<wait_result> wait(const wait_container& request);
  void answer_waiters(std::initializer_list<std::string_view> conditions);
  caf::result<attached_stream> attach_client(const attach_container& request);
  caf::result<attached_stream> logs(const read_logs& request);
  caf::result<created_exec> create_exec_session(const create_exec& request);
  void try_create_exec(const create_exec& request, caf::typed_response_promise<created_exec> promise);

  // ---- recovery (container_resume.cpp)
  caf::result<bool> take_up(const resume_container& request);
  void adopt(caf::typed_response_promise<bool> promise);
  void adopted(const adopted_machine& found);
  void make_up_for_start();

  // ---- what all use (container.cpp)
  const transition& check(stimulus s) const { return lookup(record_.state.status, s); }
  /// Commits the row, then shows it in the directory, then calls `then`.
  void save(done then);
  /// Commits the row without waiting for it (the store keeps the order).
  void acknowledge_exit_of(const machine_actor& machine);
  void save_exit_later();
  void end_unsaved_machine(std::function<void()> then);
  void save_behind();
  void show(done then);
  container_entry entry() const;
  void event(std::string action, std::map<std::string, std::string> more = {});
  void network_event(const std::string& action);
  void volume_event(const std::string& action);
  void run_later();
  std::string container_dir() const;
  result<log_options> log_settings() const;
  void make_io();
  bool auto_remove() const { return record_.host_config.value("AutoRemove", false); }
  template <class Promise>
  done deliver(Promise promise) {
    return [promise](caf::error e) mutable {
      if (e)
        promise.deliver(std::move(e));
      else
        deliver_ok(promise);
    };
  }

  struct waiter {
    std::string condition;
    uint64_t ticket = 0;
    caf::typed_response_promise<wait_result> promise;
  };

  container_services s_;
  container_manager_internal manager_;
  model::container_record record_;
  std::shared_ptr<process_io> io_;
  machine_actor machine_;
  machine_actor unsaved_exit_;  ///< it keeps the exit that could not be saved (a full disk), until it can
  std::vector<waiter> waiters_;
  std::deque<std::function<void()>> later_;  ///< requests that wait for the end of a start or stop
  std::vector<done> on_stopped_;             ///< called after the next exit has been committed
  std::chrono::steady_clock::time_point start_asked_;
  uint64_t timer_ticket_ = 0;       ///< a timer with another ticket is stale
  bool remove_after_exit_ = false;  ///< docker rm -f
  bool settling_ = false;           ///< an exit, or a start that failed, is not yet on record and cleared up
  bool stops_with_daemon_ = false;  ///< which is ending: nothing is started any more
  bool unresponsive_ = false;
  std::function<void(const result<created_container>&)> create_finished_;
  std::vector<std::string> create_warnings_;
  std::string wanted_name_;
  nlohmann::json create_body_;           ///< until the row is made
  std::vector<model::mount_plan> plan_;  ///< the same
};

}  // namespace arca
