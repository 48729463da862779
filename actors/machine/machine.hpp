// One machine, from its launch (or adoption) to its end. All blocking work is done on the pool (launch_plan.hpp), the
// agent's calls come back as messages; this class is the order of things:
//
//   idle → launching → running → over (agent dead or init's exit reported) → closing → quit
//           └ failure: undone, answered, quit
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include <caf/typed_event_based_actor.hpp>

#include "actors/machine/internal.hpp"
#include "actors/machine/launch_plan.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "vm/relay/published_socket.hpp"

namespace arca {

class machine : public tracked<machine_internal::base> {
 public:
  machine(caf::actor_config& config, engine_context& ctx, shared_backends backends, shared_threads threads,
          const make_machine& order);
  behavior_type make_behavior() override;
  void on_exit() override;

 private:
  enum class phase : uint8_t { idle, launching, running, dead, closing };
  /// A process's end is reported when its exit is known and its output is complete (or late).
  struct process_state {
    std::shared_ptr<process_io> io;
    uint64_t binding = 0;  ///< of the connection that is open; 0: none
    int broken = 0;        ///< connections that broke since the last that worked
    std::optional<vm::agent_exit> exit;
    std::string error;
    bool reported = false;
  };
  using started_promise = caf::typed_response_promise<machine_started>;
  using adopted_promise = caf::typed_response_promise<adopted_machine>;

  // ---- launch (machine.cpp)
  caf::result<machine_started> begin_launch(const launch_machine& request);
  void booted(started_promise promise);
  void prepare_container(started_promise promise);
  void create_container(started_promise promise, std::shared_ptr<launch::prepared> plan);
  void container_started(started_promise& promise, launch::prepared& plan, const vm::agent_started& started);
  void undo(started_promise& promise, const error& why);
  int64_t host_pid(int64_t init_pid) const;

  // ---- adoption (machine_adopt.cpp)
  caf::result<adopted_machine> adopt(const adopt_machine& request);
  void adopted(adopted_promise promise, const vm::agent_hello& hello);
  void found_dead(adopted_promise promise, const error& why);

  // ---- calls (machine_calls.cpp)
  caf::result<process_started> start(const start_process& request);
  caf::result<void> signal(const signal_process& request);
  caf::result<void> resize(const resize_process& request);
  caf::result<void> pause(const pause_machine& request);
  caf::result<void> kill(const kill_machine& request);
  caf::result<process_list> processes(const list_processes& request);
  caf::result<json_document> statistics(const machine_stats& request);
  caf::result<void> update(const update_resources& request);

  // ---- calls of embedders (machine_embedder.cpp)
  caf::result<dialled_stream> dial(const dial_machine& request);
  caf::result<void> publish(const publish_socket& request);
  /// Makes the agent's call; the answer is that of the request.
  caf::result<void> own_call(std::function<void(vm::agent_client&, vm::agent_client::callback<void>)> call);
  caf::result<void> write_file(const write_machine_file& request);
  caf::result<void> make_folder(const make_machine_folder& request);
  caf::result<void> mount(const mount_in_machine& request);
  caf::result<void> unmount(const unmount_in_machine& request);
  caf::result<void> set_sysctls(const set_machine_sysctls& request);
  caf::result<void> set_time(const set_machine_time& request);
  caf::result<void> set_up_emulator(const set_up_machine_emulator& request);
  caf::result<void> configure_interface(const configure_machine_interface& request);
  caf::result<void> set_interface(const set_machine_interface& request);
  caf::result<void> remove_interface(const remove_machine_interface& request);
  caf::result<void> change_route(const change_machine_route& request);

  // ---- whether it lives (machine_health.cpp)
  void begin_pings();
  void ping_if_silent();
  void heard();
  void answered(const error& result);  ///< notices timeouts, and when the agent answers again
  void tell_unresponsive(bool unresponsive);
  template <class T, class Call, class Then>
  void call_agent(Call call, Then then);
  std::optional<caf::error> not_running() const;

  // ---- ends (machine_end.cpp)
  void watch();
  void follow_events();
  void events_ended();
  bool is_expected(const machine_event& event) const;
  static int64_t believable(int64_t at, int64_t earliest);
  void bind(const std::string& process_id, unique_fd socket, std::shared_ptr<process_io> io);
  void reconnect(const std::string& process_id);
  void on_event(const machine_event& event);
  void on_stdio_ended(const machine_stdio_ended& ended);
  void on_timer(const machine_timer& timer);
  void on_process_ended();
  void exit_known(const std::string& process_id, const vm::agent_exit& exit, std::string why);
  void keep_log();
  void settle(const std::string& process_id, bool output_is_late);
  void report(const std::string& process_id, process_state& state);
  caf::result<void> acknowledge(const acknowledge_exit& request);
  void forget_soon(const std::string& exec);
  void forget_execs();
  void close();
  void end_machine();
  std::string container_dir() const { return ctx_.config.data_root + "/containers/" + id_; }

  engine_context& ctx_;
  shared_backends backends_;
  shared_threads threads_;
  shared_backend backend_;  ///< of this machine's kind; null until it is launched or adopted
  const std::string id_;
  machine_observer_actor observer_;
  phase phase_ = phase::idle;
  uint64_t generation_ = 0, bindings_ = 0;
  int64_t began_ = 0;  ///< of the launch, then of the container: nothing in it can be older
  int strange_events_ = 0;
  std::vector<std::string> forgotten_;  ///< execs whose ends are to be acknowledged
  int lost_streams_ = 0;                ///< streams of events that ended, one after the other
  bool unresponsive_ = false, paused_ = false, pinging_ = false;
  std::chrono::steady_clock::time_point heard_at_;  ///< an answer or an event of the agent
  std::vector<std::unique_ptr<vm::published_socket>> published_;
  /// The boot log of a VM that has ended is being kept, in a folder that goes soon after the exit is told: so that
  /// waits, but not for long. False: do not begin any more.
  std::shared_ptr<std::atomic<bool>> keeping_log_;
  int64_t pid_ = 0;  ///< of the container's init, as the agent sees it
  std::shared_ptr<vm::machine> box_;
  std::shared_ptr<const launch::order> order_;
  std::shared_ptr<unique_fd> root_;
  std::map<std::string, process_state> processes_;
  std::function<void()> init_settled_;  ///< an adoption that waits for the output of an init that has ended
};

/// Calls the agent and continues here with its result<T>. `call` gets the client and the callback.
template <class T, class Call, class Then>
void machine::call_agent(Call call, Then then) {
  await_callback<result<T>>(
      this, *ctx_.port,
      [box = box_, call = std::move(call)](std::function<void(result<T>)> done) mutable {
        call(box->agent(), std::move(done));
      },
      [this, then = std::move(then)](result<T> value) mutable {
        answered(value ? error{} : value.error());
        then(std::move(value));
      });
}

}  // namespace arca
