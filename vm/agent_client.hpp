// The daemon's side of guest/proto/agent.proto. One client per machine, over one connected socket; it never reconnects:
// when the socket has ended every call answers errc::unavailable and a new client is made over a new socket.
//
// Calls return at once; `done` is called exactly once, on a gRPC thread, also when the client is destroyed meanwhile.
// A call past its deadline answers errc::timeout. What the agent sends is bounded (4 MiB a message) and not trusted.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

struct agent_exit {
  int32_t code = 0;
  int64_t at = 0;  ///< unix nanoseconds
  bool oom_killed = false;
  uint64_t last_sequence = 0;  ///< number of the process's last output record
};
struct agent_process {
  std::string container_id, process_id;
  int64_t pid = 0, started_at = 0;
  bool tty = false, paused = false;
  std::optional<agent_exit> exit;
};
struct agent_hello {
  std::string version, machine_id;
  int64_t pid = 0;
  std::vector<agent_process> processes;
};
struct agent_configuration {
  std::string machine_id, hostname, machine_dir, cgroup_path;
  std::map<std::string, std::string> sysctls;
};
struct agent_stdio {
  bool tty = false, open_stdin = false, capture = true, non_blocking = false;
  uint32_t rows = 0, columns = 0;
  uint64_t spool_limit = 0;
};
struct agent_container {
  std::string container_id, oci_spec;
  std::string rootfs;  ///< token of a descriptor, or a path in the guest
  bool rootfs_is_path = false, read_only = false;
  agent_stdio stdio;
  std::vector<std::pair<std::string, std::string>> mount_sources;  ///< destination, fd_token
};
struct agent_exec {
  std::string container_id, process_id, oci_process;
  agent_stdio stdio;
};
struct agent_started {
  int64_t pid = 0, started_at = 0;
};
struct agent_interface {
  std::string name, mac, gateway4, gateway6;
  std::vector<std::string> addresses;
  uint32_t mtu = 0;
};
struct agent_event {
  std::string container_id, process_id;
  std::optional<agent_exit> exit;  ///< else an OOM kill
};

class agent_client {
 public:
  using milliseconds = std::chrono::milliseconds;
  template <class T>
  using callback = std::function<void(result<T>)>;

  /// `socket` is a connected stream socket to the agent's gRPC server.
  static std::shared_ptr<agent_client> over(unique_fd socket);
  agent_client(const agent_client&) = delete;
  agent_client& operator=(const agent_client&) = delete;
  ~agent_client();  ///< cancels what is open

  void hello(uint64_t generation, milliseconds limit, callback<agent_hello> done);
  void configure(const agent_configuration& what, milliseconds limit, callback<void> done);
  void shutdown(milliseconds limit, callback<void> done);
  void create_container(const agent_container& what, milliseconds limit, callback<agent_started> done);
  void exec(const agent_exec& what, milliseconds limit, callback<agent_started> done);
  void signal(const std::string& container, const std::string& process, int number, bool all, milliseconds limit,
              callback<void> done);
  void resize(const std::string& container, const std::string& process, uint32_t rows, uint32_t columns,
              milliseconds limit, callback<void> done);
  void acknowledge(const std::string& container, const std::string& process, milliseconds limit, callback<void> done);
  void processes(const std::string& container, milliseconds limit, callback<std::vector<int64_t>> done);
  void stats(const std::string& container, milliseconds limit, callback<std::string> done);
  void update_resources(const std::string& container, const std::string& oci_resources, milliseconds limit,
                        callback<void> done);
  void configure_interface(const agent_interface& nic, milliseconds limit, callback<void> done);
  void remove_interface(const std::string& name, milliseconds limit, callback<void> done);

  /// Opens the stream of events. `on_event` for each, then `on_end` once with the reason; both on a gRPC thread,
  /// neither after the client's destructor has returned. At most one stream per client.
  void subscribe(std::function<void(agent_event)> on_event, std::function<void(error)> on_end);

 private:
  struct state;
  explicit agent_client(std::shared_ptr<state> s);
  std::shared_ptr<state> state_;
};

/// Waits for one call, for code that runs on the blocking pool:
///   auto hello = wait_for<agent_hello>([&](auto done) { client.hello(generation, limit, done); });
template <class T, class Start>
result<T> wait_for(Start start) {
  auto promise = std::make_shared<std::promise<result<T>>>();
  auto future = promise->get_future();
  start([promise](result<T> value) { promise->set_value(std::move(value)); });
  return future.get();
}

}  // namespace arca::vm
