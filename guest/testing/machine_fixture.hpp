// A daemon in small for the agent's integration tests and measurements: starts the real arca-guest, speaks gRPC and
// stdio frames to it, and makes containers from a busybox root. Needs root, crun and /bin/busybox (static).
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "guest/proto/agent.grpc.pb.h"
#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest::testing {

namespace pb = arca::agent::v1;

/// One stdio connection. All waits end after 10 s with an exception.
class stdio_client {
 public:
  explicit stdio_client(unique_fd socket) : socket_(std::move(socket)) {}

  /// Reads frames until `done` says so, or end of the stream (false).
  bool read_until(const std::function<bool()>& done);
  /// Reads until the end frame or the end of the connection; everything that came on both streams.
  std::string read_all();
  void send(stdio::frame_kind kind, uint64_t sequence = 0, std::string_view payload = {});
  void acknowledge() { send(stdio::frame_kind::ack, last); }
  int fd() const { return socket_.get(); }

  std::string out, err;  ///< what came so far
  uint64_t first = 0;    ///< number of the first record that came
  uint64_t last = 0;     ///< of the last one; throws when one is missing or comes twice
  uint64_t records = 0;
  uint64_t credit = 0;  ///< of stdin
  uint64_t lost = 0;
  uint64_t bytes = 0;
  bool stdin_closed = false;
  bool ended = false;
  stdio::frame end{};       ///< once ended
  bool keep_output = true;  ///< false: only counts bytes
  bool auto_acknowledge = true;

 private:
  bool take_frames();
  unique_fd socket_;
  std::string buffer_;
  size_t at_ = 0;
};

class machine_fixture {
 public:
  /// `launcher`: "crun", "native", or "native-v2": the agent sees a cgroup v2 tree (on a v1 host without controllers).
  explicit machine_fixture(bool configure = true, const std::string& launcher = "crun");
  ~machine_fixture();

  void connect();  ///< a new gRPC connection with the next generation, Hello said
  void disconnect();
  std::unique_ptr<stdio_client> open_stdio(const std::string& process = "init", uint64_t first = 1);
  void send_fd(const std::string& token, int fd);
  /// OCI spec of a container that runs `argv` on the busybox root.
  nlohmann::json spec(const std::vector<std::string>& argv) const;
  pb::CreateContainerRequest create_request(const nlohmann::json& oci);
  grpc::Status create(const pb::CreateContainerRequest& request);
  grpc::Status create(const std::vector<std::string>& argv) { return create(create_request(spec(argv))); }
  pb::ExecRequest exec_request(const std::string& id, const std::vector<std::string>& argv) const;
  grpc::Status exec(const pb::ExecRequest& request);
  /// Waits for the exit of a process on a fresh Events call.
  pb::Exit wait(const std::string& process = "init");
  grpc::Status acknowledge(const std::string& process = "init");
  pb::HelloReply hello();

  template <class Call, class Request, class Reply>
  grpc::Status call(Call method, const Request& request, Reply* reply) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return (stub.get()->*method)(&context, request, reply);
  }

  std::string id = "c1";
  std::string dir;
  std::string cgroup;
  pid_t agent = 0;
  uint64_t generation = 0;
  unique_fd pool;
  std::unique_ptr<pb::Agent::Stub> stub;
  bool saw_oom = false;
  int64_t last_pid = 0;
  std::string rootfs;

 private:
  int tokens_ = 0;
};

/// A field of /proc/PID/smaps_rollup in KiB: "Pss", "Private_Dirty".
long memory_of(pid_t pid, const std::string& field);
/// CPU time of all threads of a process in nanoseconds.
long cpu_nanos(pid_t pid);
double milliseconds_since(std::chrono::steady_clock::time_point start);

}  // namespace arca::guest::testing
