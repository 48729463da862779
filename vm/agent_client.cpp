#include "vm/agent_client.hpp"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>

#include "guest/proto/version.hpp"
#include "vm/agent_calls.hpp"
#include "vm/exec_request.hpp"

namespace arca::vm {

namespace {
/// For people's terminals: no control characters, and an end.
std::string plain(std::string text) {
  constexpr size_t longest = 4096;
  if (text.size() > longest) text.resize(longest);
  for (auto& c : text)
    if ((static_cast<unsigned char>(c) < ' ' && c != '\n' && c != '\t') || c == '\x7f') c = ' ';
  return text;
}
}  // namespace

error calls::to_error(const grpc::Status& status) {
  const auto message = plain(status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
      return {errc::not_found, message};
    case grpc::StatusCode::INVALID_ARGUMENT:
      return {errc::invalid_argument, message};
    case grpc::StatusCode::ALREADY_EXISTS:
      return {errc::conflict, message};
    case grpc::StatusCode::FAILED_PRECONDITION:
      return {errc::conflict, message};
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return {errc::timeout, "the machine's agent does not answer"};
    case grpc::StatusCode::UNKNOWN:  // so gRPC says that the connection ended under the call
    case grpc::StatusCode::UNAVAILABLE:
      return {errc::unavailable, "the machine's agent has gone: " + message};
    case grpc::StatusCode::CANCELLED:
      return {errc::cancelled, "the call to the machine's agent was cancelled"};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {errc::unsupported, "the machine's agent is too old: " + message};
    default:
      return {errc::internal, message};
  }
}

namespace {
using namespace calls;

constexpr int max_reply = 4 << 20;
constexpr int64_t largest_pid = 1 << 22;  ///< PID_MAX_LIMIT
constexpr int most_processes = 1 << 16;

agent_exit to_exit(const proto::Exit& e) {
  return {e.code() & 0xff, e.at(), e.oom_killed(), e.last_sequence()};
}

/// 0: not a process id. A negative one would mean a group, or everybody.
int64_t to_pid(int64_t pid) {
  return pid > 0 && pid <= largest_pid ? pid : 0;
}

agent_started to_started(const proto::ProcessStarted& p) {
  return {to_pid(p.pid()), p.started_at()};
}

/// gRPC's callback threads live as long as some channel that used them, and the last channel must not be destroyed on
/// one of them: it would join itself ("assertion failed: prior > 0", 1.51). So one channel, to nobody, is never
/// destroyed.
void keep_callback_threads() {
  static const auto* const anchor = [] {
    struct lasting {
      std::shared_ptr<grpc::Channel> channel;
      std::unique_ptr<proto::Agent::Stub> stub;
      grpc::ClientContext context;
      proto::HelloRequest request;
      proto::HelloReply reply;
    };
    auto* kept = new lasting;
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return kept;
    ::close(ends[1]);
    kept->channel = grpc::CreateCustomInsecureChannelFromFd("nobody", ends[0], grpc::ChannelArguments());
    kept->stub = proto::Agent::NewStub(kept->channel);
    kept->stub->async()->Hello(&kept->context, &kept->request, &kept->reply, [](const grpc::Status&) {});
    return kept;
  }();
  (void)anchor;
}

}  // namespace

agent_client::agent_client(std::shared_ptr<state> s) : state_(std::move(s)) {}

std::shared_ptr<agent_client> agent_client::over(unique_fd socket, std::shared_ptr<start_account> account) {
  keep_callback_threads();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_reply);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // no pings, a fixed window: a flooding agent fills 256 KiB, no more
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 256 << 10);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 256 << 10);  // large ones reach a machine's port uncopied
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  unique_fd second(fcntl(socket.get(), F_DUPFD_CLOEXEC, 3));
  const int fd = socket.release();
  auto guarded = std::make_unique<guarded_socket>(fd, uint32_t{max_reply});  // before gRPC reads
  auto s = std::make_shared<state>(grpc::CreateCustomInsecureChannelFromFd("arca-guest", fd, arguments));
  s->socket = std::move(second);
  s->guarded = std::move(guarded);
  s->account = std::move(account);
  s->stub = proto::Agent::NewStub(s->channel);
  return std::shared_ptr<agent_client>(new agent_client(std::move(s)));
}

agent_client::~agent_client() {
  decltype(state_->events) events;
  decltype(state_->relayed) relayed;
  {
    const std::lock_guard guard(state_->lock);
    state_->closing = true;
    for (auto* context : state_->open) context->TryCancel();
    for (auto* each : state_->tunnels) each->cancel();
    for (auto* each : state_->stdios) each->cancel();
    state_->spare.reset();
    events = std::move(state_->events);
    relayed = std::move(state_->relayed);
  }
  if (events) events->silence();
  if (relayed) relayed->silence();
  if (state_->socket) ::shutdown(state_->socket.get(), SHUT_RDWR);
}

std::shared_ptr<agent_client> agent_client::for_container(const std::string& container) const {
  auto s = std::make_shared<state>(state_->channel);
  s->account = state_->account;
  s->revision = state_->revision;
  s->stub = proto::Agent::NewStub(s->channel);
  s->container = container;
  return std::shared_ptr<agent_client>(new agent_client(std::move(s)));
}

void agent_client::hello(uint64_t generation, milliseconds limit, callback<agent_hello> done) {
  hello(agent_greeting{generation, {}, 0}, limit, std::move(done));
}

void agent_client::hello(const agent_greeting& greeting, milliseconds limit, callback<agent_hello> done) {
  proto::HelloRequest request;
  request.set_protocol_version(agent_protocol_version);
  request.set_generation(greeting.generation);
  request.set_random_seed(greeting.random_seed);
  request.set_now(greeting.now);
  start<proto::HelloRequest, proto::HelloReply>(
      state_, &proto::Agent::Stub::async::Hello, std::move(request), limit,
      [owner = state_.get(), done = std::move(done)](const proto::HelloReply& reply, error e) {
        if (e.code() != errc::none) return done(fail(std::move(e)));
        if (reply.protocol_version() != agent_protocol_version)
          return done(fail(errc::unavailable, "the machine's agent speaks protocol " +
                                                  std::to_string(reply.protocol_version()) + ", not " +
                                                  std::to_string(agent_protocol_version)));
        *owner->revision = reply.revision();
        agent_hello out{reply.agent_version(), reply.machine_id(), to_pid(reply.pid()), {}};
        for (const auto& p : reply.processes()) {
          agent_process one{p.container_id(), p.process_id(), to_pid(p.pid()), p.started_at(), p.tty(), p.paused(), {}};
          if (p.exited()) one.exit = to_exit(p.exit());
          out.processes.push_back(std::move(one));
        }
        done(std::move(out));
      });
}

void agent_client::ping(milliseconds limit, callback<void> done) {
  start<proto::Empty, proto::Empty>(state_, &proto::Agent::Stub::async::Ping, {}, limit, no_value(std::move(done)));
}

void agent_client::configure(const agent_configuration& what, milliseconds limit, callback<void> done) {
  proto::ConfigureRequest request;
  request.set_machine_id(what.machine_id);
  request.set_hostname(what.hostname);
  request.set_machine_dir(what.machine_dir);
  request.set_cgroup_path(what.cgroup_path);
  for (const auto& [name, value] : what.sysctls) (*request.mutable_sysctls())[name] = value;
  start<proto::ConfigureRequest, proto::Empty>(state_, &proto::Agent::Stub::async::Configure, std::move(request), limit,
                                               no_value(std::move(done)));
}

void agent_client::shutdown(milliseconds limit, callback<void> done) {
  start<proto::Empty, proto::Empty>(state_, &proto::Agent::Stub::async::Shutdown, {}, limit, no_value(std::move(done)));
}

void agent_client::create_container(const agent_container& what, milliseconds limit, callback<agent_started> done) {
  proto::CreateContainerRequest request;
  request.set_container_id(what.container_id);
  request.set_oci_spec(what.oci_spec);
  auto* rootfs = request.mutable_rootfs();
  if (what.rootfs_is_path)
    rootfs->set_path(what.rootfs);
  else
    rootfs->set_fd_token(what.rootfs);
  rootfs->set_read_only(what.read_only);
  fill(*request.mutable_stdio(), what.stdio);
  for (const auto& [destination, token] : what.mount_sources) {
    auto* source = request.add_mount_sources();
    source->set_destination(destination);
    source->set_fd_token(token);
  }
  start<proto::CreateContainerRequest, proto::ProcessStarted>(
      state_, &proto::Agent::Stub::async::CreateContainer, std::move(request), limit,
      [done = std::move(done)](const proto::ProcessStarted& reply, error e) {
        if (e.code() != errc::none) return done(fail(std::move(e)));
        done(to_started(reply));
      });
}

void agent_client::exec(const agent_exec& what, milliseconds limit, callback<agent_started> done) {
  start<proto::ExecRequest, proto::ProcessStarted>(
      state_, &proto::Agent::Stub::async::Exec, to_request(what), limit,
      [done = std::move(done)](const proto::ProcessStarted& reply, error e) {
        if (e.code() != errc::none) return done(fail(std::move(e)));
        done(to_started(reply));
      });
}

void agent_client::exec(const agent_exec& what, stdio::hello hello, milliseconds limit, callback<agent_attached> done) {
  unique_fd theirs;
  const auto request = to_request(what, *state_->revision);
  if (*state_->revision == 0 || sizeof hello + request.ByteSizeLong() > agent::most_message_bytes) {
    auto stream = make_stdio(state_, theirs, false);
    if (!stream) return done(fail(stream.error()));
    (*stream)->start(state_->raw, hello);
    return exec(what, limit,
                [kept = std::make_shared<unique_fd>(std::move(theirs)), done](result<agent_started> started) {
                  if (!started) return done(fail(started.error()));
                  done(agent_attached{*started, std::move(*kept)});
                });
  }
  hello.kind = stdio::hello_kind::exec;
  const auto start_on = [&](stdio_stream& stream) {
    return stream.start(state_->raw,
                        {hello, request.SerializeAsString(), limit,
                         [kept = std::make_shared<unique_fd>(std::move(theirs)), done](result<stdio::frame> started) {
                           if (!started) return done(fail(started.error()));
                           const int64_t pid = to_pid(static_cast<int64_t>(started->sequence));
                           done(agent_attached{{pid, started->time}, std::move(*kept)});
                         }});
  };
  if (const auto spare = take_spare(theirs); spare && start_on(*spare)) return;
  auto stream = make_stdio(state_, theirs, true);
  if (!stream) return done(fail(stream.error()));
  (void)start_on(**stream);
}

void agent_client::signal(const std::string& container, const std::string& process, int number, bool all,
                          milliseconds limit, callback<void> done) {
  proto::SignalRequest request;
  request.set_container_id(container);
  request.set_process_id(process);
  request.set_signal(number);
  request.set_all(all);
  start<proto::SignalRequest, proto::Empty>(state_, &proto::Agent::Stub::async::Signal, std::move(request), limit,
                                            no_value(std::move(done)));
}

void agent_client::resize(const std::string& container, const std::string& process, uint32_t rows, uint32_t columns,
                          milliseconds limit, callback<void> done) {
  proto::ResizeRequest request;
  request.set_container_id(container);
  request.set_process_id(process);
  request.set_rows(rows);
  request.set_columns(columns);
  start<proto::ResizeRequest, proto::Empty>(state_, &proto::Agent::Stub::async::Resize, std::move(request), limit,
                                            no_value(std::move(done)));
}

void agent_client::pause(const std::string& container, milliseconds limit, callback<void> done) {
  proto::ContainerRef request;
  request.set_container_id(container);
  start<proto::ContainerRef, proto::Empty>(state_, &proto::Agent::Stub::async::Pause, std::move(request), limit,
                                           no_value(std::move(done)));
}

void agent_client::resume(const std::string& container, milliseconds limit, callback<void> done) {
  proto::ContainerRef request;
  request.set_container_id(container);
  start<proto::ContainerRef, proto::Empty>(state_, &proto::Agent::Stub::async::Resume, std::move(request), limit,
                                           no_value(std::move(done)));
}

void agent_client::acknowledge(const std::string& container, const std::vector<std::string>& processes,
                               milliseconds limit, callback<void> done) {
  const bool at_once = *state_->revision > 0;
  proto::AcknowledgeRequest request;
  request.set_container_id(container);
  for (const auto& process : processes) {
    const bool last = &process == &processes.back();
    if (at_once && !last) {
      request.add_more_process_ids(process);
      continue;
    }
    request.set_process_id(process);
    start<proto::AcknowledgeRequest, proto::Empty>(state_, &proto::Agent::Stub::async::Acknowledge, request, limit,
                                                   no_value(last ? std::move(done) : [](result<void>) {}));
  }
}

void agent_client::processes(const std::string& container, milliseconds limit, callback<agent_process_table> done) {
  proto::ContainerRef request;
  request.set_container_id(container);
  start<proto::ContainerRef, proto::ProcessesReply>(
      state_, &proto::Agent::Stub::async::Processes, std::move(request), limit,
      [done = std::move(done)](const proto::ProcessesReply& reply, error e) {
        if (e.code() != errc::none) return done(fail(std::move(e)));
        if (reply.facts_size() > most_processes)
          return done(fail(errc::internal, "the machine's agent names more processes than there can be"));
        agent_process_table out;
        for (const auto& p : reply.facts())
          if (to_pid(p.pid()) != 0) out.processes.push_back({p.pid(), p.stat(), p.command(), p.uid()});
        out.uptime = reply.uptime();
        out.memory_kib = reply.memory_kib();
        out.now = reply.now();
        done(std::move(out));
      });
}

void agent_client::stats(const std::string& container, milliseconds limit, callback<std::string> done) {
  proto::ContainerRef request;
  request.set_container_id(container);
  start<proto::ContainerRef, proto::StatsReply>(state_, &proto::Agent::Stub::async::Stats, std::move(request), limit,
                                                [done = std::move(done)](const proto::StatsReply& reply, error e) {
                                                  if (e.code() != errc::none) return done(fail(std::move(e)));
                                                  done(reply.json());
                                                });
}

void agent_client::update_resources(const std::string& container, const std::string& oci_resources, milliseconds limit,
                                    callback<void> done) {
  proto::UpdateResourcesRequest request;
  request.set_container_id(container);
  request.set_oci_resources(oci_resources);
  start<proto::UpdateResourcesRequest, proto::Empty>(state_, &proto::Agent::Stub::async::UpdateResources,
                                                     std::move(request), limit, no_value(std::move(done)));
}

void agent_client::subscribe(std::function<void(agent_event)> on_event, std::function<void(error)> on_end) {
  auto made = reader<proto::EventsRequest, proto::Event>::make(
      [on_event = std::move(on_event)](const proto::Event& event) {
        agent_event out;
        out.container_id = event.container_id();
        out.process_id = event.process_id();
        if (event.has_exit()) out.exit = to_exit(event.exit());
        on_event(std::move(out));
      },
      std::move(on_end));
  made->request.set_container_id(state_->container);
  {
    const std::lock_guard guard(state_->lock);
    state_->events = made;
  }
  made->start(*state_->stub, &proto::Agent::Stub::async::Events);
}

template <class Reader>
void agent_client::next(std::shared_ptr<Reader> state::*which) {
  std::shared_ptr<Reader> reader;
  {
    const std::lock_guard guard(state_->lock);
    reader = (*state_).*which;
  }
  if (reader) reader->next();
}

void agent_client::next_event() {
  next(&state::events);
}

void agent_client::next_relayed() {
  next(&state::relayed);
}

}  // namespace arca::vm
