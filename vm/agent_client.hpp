// The daemon's side of guest/proto/agent.proto. One client per machine, over one connected socket; it never reconnects:
// when the socket has ended every call answers errc::unavailable and a new client is made over a new socket.
//
// Calls return at once; `done` is called exactly once, on a gRPC thread, also when the client is destroyed meanwhile.
// A call past its deadline answers errc::timeout. What the agent sends is bounded (4 MiB a message, before it is read)
// and not trusted: numbers are made to fit here, times are not (actors/machine knows what is possible).
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

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

class stdio_stream;
class tunnel_stream;

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
struct agent_attached {
  agent_started process;
  unique_fd stdio;  ///< as of agent_client::stdio
};
struct agent_interface {
  std::string name, mac, gateway4, gateway6;
  std::vector<std::string> addresses;
  uint32_t mtu = 0;
  std::string container;  ///< not empty: into a network namespace that is made for this container, which comes later
};
struct agent_route {
  std::string destination;         ///< "10.1.0.0/16"; "0.0.0.0/0" and "::/0": the default route
  std::string gateway, interface;  ///< at least one of them
  bool remove = false;
};
/// Of one process, from where it runs; text of /proc, cut. Nothing of it is trusted where the machine is a VM.
struct agent_process_facts {
  int64_t pid = 0;
  std::string stat, command;
  uint32_t uid = 0;
};
struct agent_process_table {
  std::vector<agent_process_facts> processes;
  double uptime = 0;
  int64_t memory_kib = 0, now = 0;  ///< now: unix seconds
};
/// A socket inside on which the agent listens.
struct agent_relay {
  std::string name, token;
  uint32_t uid = 0, gid = 0, mode = 0;
};
struct agent_relayed {
  uint64_t id = 0;
  std::string relay;
  uint32_t uid = 0, gid = 0;  ///< who connected
};
/// What a VM is told before anything else; a namespace machine has the host's.
struct agent_greeting {
  uint64_t generation = 0;
  std::string random_seed;  ///< 32 bytes; empty: none
  int64_t now = 0;          ///< unix nanoseconds; 0: the clock is left alone
};
/// Where a tunnel ends inside the machine.
struct agent_tunnel {
  enum class kind : uint8_t { tcp, udp, unix_socket, relayed };
  kind to = kind::tcp;
  std::string host;  ///< tcp, udp: numeric
  uint16_t port = 0;
  std::string path;         ///< unix_socket
  uint64_t connection = 0;  ///< relayed
  std::string container;    ///< whose network or root; empty: the machine's
};
struct agent_mount {
  std::string type, source;
  std::string target;   ///< empty: it stays detached, kept under `token`
  std::string options;  ///< as of mount(8): "ro,nosuid,nodev", "rbind"
  std::string token;
};
struct agent_file {
  std::string path, content;  ///< content: at most 1 MiB
  uint32_t mode = 0644;
  std::string container;  ///< empty: a path of the machine's own root
};
struct agent_emulator {
  std::string name;         ///< "qemu-aarch64"
  std::string interpreter;  ///< path in the machine
  std::string magic, mask;
};
struct agent_event {
  std::string container_id, process_id;
  std::optional<agent_exit> exit;  ///< else an OOM kill
};

class start_account;

class agent_client {
 public:
  using milliseconds = std::chrono::milliseconds;
  template <class T>
  using callback = std::function<void(result<T>)>;

  /// `socket` is a connected stream socket to the agent's gRPC server. Calls are noted in `account`, if there is one.
  static std::shared_ptr<agent_client> over(unique_fd socket, std::shared_ptr<start_account> account = {});
  agent_client(const agent_client&) = delete;
  agent_client& operator=(const agent_client&) = delete;
  /// Cancels what is open and shuts the socket down: QEMU serves the next client only then.
  ~agent_client();

  /// Another client over the same connection, whose events are those of one container. The connection ends with the
  /// first client.
  std::shared_ptr<agent_client> for_container(const std::string& container) const;

  void hello(uint64_t generation, milliseconds limit, callback<agent_hello> done);
  void hello(const agent_greeting& greeting, milliseconds limit, callback<agent_hello> done);
  /// Answered when the agent lives and turns.
  void ping(milliseconds limit, callback<void> done);
  void configure(const agent_configuration& what, milliseconds limit, callback<void> done);
  void shutdown(milliseconds limit, callback<void> done);
  void create_container(const agent_container& what, milliseconds limit, callback<agent_started> done);
  void exec(const agent_exec& what, milliseconds limit, callback<agent_started> done);
  /// In a VM: exec and stdio in one call. `hello` names the same process.
  void exec(const agent_exec& what, stdio::hello hello, milliseconds limit, callback<agent_attached> done);
  void signal(const std::string& container, const std::string& process, int number, bool all, milliseconds limit,
              callback<void> done);
  void resize(const std::string& container, const std::string& process, uint32_t rows, uint32_t columns,
              milliseconds limit, callback<void> done);
  void pause(const std::string& container, milliseconds limit, callback<void> done);
  void resume(const std::string& container, milliseconds limit, callback<void> done);
  /// Answered with what happened to the last of them.
  void acknowledge(const std::string& container, const std::vector<std::string>& processes, milliseconds limit,
                   callback<void> done);
  void processes(const std::string& container, milliseconds limit, callback<agent_process_table> done);
  void stats(const std::string& container, milliseconds limit, callback<std::string> done);
  void update_resources(const std::string& container, const std::string& oci_resources, milliseconds limit,
                        callback<void> done);
  void configure_interface(const agent_interface& nic, milliseconds limit, callback<void> done);
  void remove_interface(const std::string& name, milliseconds limit, callback<void> done);
  void set_interface(const std::string& name, bool up, milliseconds limit, callback<void> done);
  void change_route(const agent_route& what, milliseconds limit, callback<void> done);

  /// One end of a socket pair whose other end is the connection inside. Ends of input and output are told apart
  /// (shutdown(SHUT_WR)); for udp the pair keeps message boundaries (SOCK_SEQPACKET). `limit` is for connecting. It
  /// lives until both directions have ended, the descriptor is closed, or the client is destroyed. At most 256 KiB are
  /// under way each way in this process: whoever does not read stops the other side.
  void tunnel(const agent_tunnel& where, milliseconds limit, callback<unique_fd> done);
  /// The same for a connected, non-blocking stream socket that is there: its bytes go to and fro. `over`: once, when
  /// nothing of it is left, also when it did not come to be.
  void tunnel_from(unique_fd socket, const agent_tunnel& where, milliseconds limit, std::function<void()> over);

  /// A connection for the bytes of a process in a VM, at once: the hello is on its way, and one that is refused ends
  /// the connection. As with a tunnel, 256 KiB are under way each way in this process, and as much lies in the socket.
  result<unique_fd> stdio(const stdio::hello& hello);

  // ---- of a VM; a namespace machine answers errc::conflict
  void mount(const agent_mount& what, milliseconds limit, callback<void> done);
  void unmount(const std::string& target, bool detach, milliseconds limit, callback<void> done);
  void write_file(const agent_file& what, milliseconds limit, callback<void> done);
  void make_directory(const std::string& container, const std::string& path, uint32_t mode, bool parents,
                      milliseconds limit, callback<void> done);
  void set_sysctls(const std::map<std::string, std::string>& sysctls, milliseconds limit, callback<void> done);
  void set_time(int64_t now, milliseconds limit, callback<void> done);
  void set_up_emulator(const agent_emulator& what, milliseconds limit, callback<void> done);
  void make_relay(const agent_relay& what, milliseconds limit, callback<void> done);
  void refuse_relayed(uint64_t connection, milliseconds limit, callback<void> done);
  /// As subscribe(): connections to relays that wait for a tunnel (agent_tunnel::kind::relayed) or a refusal.
  void follow_relays(std::function<void(agent_relayed)> on_connection);
  /// Lets the next one come, once for each.
  void next_relayed();

  /// Opens the stream of events and reads the first. `on_event` for each, then `on_end` once with the reason; both on a
  /// gRPC thread, neither after the client's destructor has returned. One stream at a time.
  void subscribe(std::function<void(agent_event)> on_event, std::function<void(error)> on_end);
  /// Lets the next event come, once for each: an agent that sends them without end waits for whoever takes them.
  void next_event();

 private:
  struct state;
  /// `for_exec`: the next call is opened when this one has gone.
  static result<std::shared_ptr<stdio_stream>> make_stdio(const std::shared_ptr<state>& of, unique_fd& theirs,
                                                          bool for_exec);
  static void open_spare(const std::shared_ptr<state>& of);
  std::shared_ptr<stdio_stream> take_spare(unique_fd& theirs);
  template <class Reader>
  void next(std::shared_ptr<Reader> state::*which);
  void open_tunnel(std::shared_ptr<tunnel_stream> made, const agent_tunnel& where, milliseconds limit);
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
