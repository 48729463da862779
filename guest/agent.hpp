// The agent of one machine: owner of its containers' processes, their exit codes and their unread output. It is driven
// by the daemon's calls (agent_service translates them) and by the ends of its children; all on the loop.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "guest/chunk_pool.hpp"
#include "guest/exit_journal.hpp"
#include "guest/launcher.hpp"
#include "guest/loop.hpp"
#include "guest/net_config.hpp"
#include "guest/process_stdio.hpp"
#include "guest/reaper.hpp"
#include "guest/stdio_server.hpp"

namespace arca::guest {

inline constexpr const char* init_process = "init";

struct process_view {
  std::string container, process;
  int64_t pid = 0;
  int64_t started_at = 0;
  std::optional<exit_record> exit;
  bool tty = false;
  bool paused = false;
};

struct process_started {
  int64_t pid = 0;
  int64_t started_at = 0;
};

struct event {
  std::string container, process;
  std::optional<exit_record> exit;  ///< empty: the kernel killed something for want of memory
};

struct create_call {
  std::string container, oci_spec;
  std::string rootfs_token, rootfs_path;  ///< one of them
  bool read_only_rootfs = false;
  stdio_options stdio;
  std::vector<std::pair<std::string, std::string>> mount_tokens;  ///< destination, token
};

struct exec_call {
  std::string container, process, oci_process;
  std::optional<plain_process> plain;
  stdio_options stdio;
};

/// What the agent finds when it starts. Errors' codes: not_found, invalid_argument, conflict (exists already),
/// unavailable (not in this state), internal.
struct agent_setup {
  std::string machine_dir;
  bool host_network = false;
  bool own_kernel = false;         ///< of a VM: hostname and sysctls are the machine's own
  unique_fd stdio_listener;        ///< empty: connections come by adopt_stdio only
  std::function<void()> assigned;  ///< Configure came: the pool no longer matters
};

class agent {
 public:
  template <class T>
  using reply = std::function<void(result<T>)>;
  using make_launcher = std::function<std::unique_ptr<launcher>(loop&, reaper&, const std::string& machine_dir)>;

  agent(loop& on, agent_setup setup, make_launcher how);

  // ---- sandbox
  /// Refuses a generation below the highest seen.
  result<void> hello(uint64_t generation);
  const std::string& machine_id() const { return machine_id_; }
  std::vector<process_view> processes() const;
  /// The folder and the hostname say nothing where the other kind of machine is asked.
  result<void> configure(const std::string& machine_id, const std::string& machine_dir, const std::string& hostname,
                         const std::map<std::string, std::string>& sysctls);
  /// Kills everything, answers when all is dead (at most 2 s later); the caller then stops the loop.
  void shutdown(std::function<void()> done);

  // ---- descriptors
  /// A connection for the bytes of a process; false: it is refused, and has ended.
  bool adopt_stdio(const stdio::hello& hello, std::unique_ptr<stdio_connection> connection) {
    return stdio_.adopt(hello, std::move(connection));
  }
  /// Keeps a mount under a token for the call that uses it; false: too many are kept.
  bool keep(const std::string& token, unique_fd what) { return stdio_.keep(token, std::move(what)); }

  /// Under which a network namespace is kept for a container that is to be created.
  static std::string network_token(const std::string& container) { return "network-" + container; }

  // ---- processes
  /// Of a container that runs.
  result<pid_t> init_pid(const std::string& container);
  void create_container(create_call call, reply<process_started> done);
  void exec(exec_call call, reply<process_started> done);
  /// Of an exec that runs although its call has ended: it is killed, its output is thrown away, its end forgotten.
  void abandon(const std::string& container, const std::string& process);
  result<void> signal(const std::string& container, const std::string& process, int number, bool all);
  result<void> resize(const std::string& container, const std::string& process, uint32_t rows, uint32_t columns);
  void pause(const std::string& container, reply<void> done);
  result<void> resume(const std::string& container);
  result<void> acknowledge(const std::string& container, const std::string& process);
  result<std::vector<pid_t>> pids(const std::string& container) const;
  result<std::string> statistics(const std::string& container) const;
  void update_resources(const std::string& container, const std::string& resources, reply<void> done);

  // ---- network
  result<void> configure_interface(const interface_config& config) const;
  result<void> remove_interface(const std::string& name) const;
  result<void> set_interface(const std::string& name, bool up) const;
  result<void> change_route(const route_change& what) const;

  // ---- events
  /// From now on the events of this container (empty: of all) go to `sink` as well, instead of to that container's
  /// sink before, beginning with all that were not acknowledged. An empty sink: to nobody.
  void set_event_sink(const std::string& container, std::function<void(const event&)> sink);

 private:
  struct process {
    std::string id;
    pid_t pid = 0;  ///< 0: being started
    int64_t started_at = 0;
    std::unique_ptr<process_stdio> stdio;
    std::optional<exit_record> exit;
    bool told = false;  ///< its output is complete too: the exit event is due
    bool abandoned = false;
  };
  struct container {
    std::string id;
    cgroup group;
    unique_fd freezer;
    bool own_pid_namespace = true;
    std::map<std::string, process> processes;
    unique_fd oom_watch;
    uint64_t oom_kills = 0;
    bool oom_check_due = false;
  };

  process* find(const std::string& container_id, const std::string& process_id);
  result<container*> running(const std::string& container_id);
  result<process*> make_process(container& in, const std::string& id, const stdio_options& options, child_stdio& child);
  void forget_abandoned(const std::string& container_id, const std::string& process_id);
  void started(container& in, process& it, launched what);
  void ended(const std::string& container_id, const std::string& process_id, int code);
  void output_complete(const std::string& container_id, const std::string& process_id, uint64_t last_sequence);
  void check_oom(container& in);
  void watch_oom(container& in);
  void emit(const event& what);
  result<void> check_own_network() const;
  void await_dead(std::chrono::steady_clock::time_point give_up, std::function<void()> done);
  void await_frozen(const std::string& container_id, int tries, reply<void> done);
  void erase_container(const std::string& container_id);
  void tidy_memory();
  bool anything_runs() const;

  loop& loop_;
  reaper reaper_;
  chunk_pool pool_;
  agent_setup setup_;
  make_launcher make_launcher_;
  std::unique_ptr<launcher> launcher_;
  std::string machine_id_;
  uint64_t generation_ = 0;
  std::map<std::string, container> containers_;
  exit_journal journal_;
  std::map<std::string, std::function<void(const event&)>> sinks_;  ///< by container; "": of all
  loop::timer_id tidy_timer_ = 0;
  bool stopping_ = false;
  uint64_t spools_ = 0;
  stdio_server stdio_;
};

}  // namespace arca::guest
