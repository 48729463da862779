#include "guest/agent_service.hpp"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <deque>
#include <map>
#include <mutex>

#include "guest/agent_log.hpp"
#include "guest/fd_passing.hpp"
#include "guest/proto/agent.grpc.pb.h"
#include "guest/proto/version.hpp"
#include "guest/quiet_grpc.hpp"

namespace arca::guest {
namespace {
namespace pb = arca::agent::v1;
using unary = grpc::ServerUnaryReactor;
using context = grpc::CallbackServerContext;

constexpr uint32_t protocol_version = agent_protocol_version;
constexpr int most_received = 4 << 20;
constexpr int look_ahead = 256 << 10;
constexpr size_t most_connections = 16;
constexpr size_t most_queued_oom_events = 256;

grpc::Status to_status(const error& e) {
  using enum grpc::StatusCode;
  switch (e.code()) {
    case errc::not_found:
      return {NOT_FOUND, e.message()};
    case errc::invalid_argument:
      return {INVALID_ARGUMENT, e.message()};
    case errc::conflict:
      return {ALREADY_EXISTS, e.message()};
    case errc::unavailable:
      return {FAILED_PRECONDITION, e.message()};
    default:
      return {INTERNAL, e.message()};
  }
}

template <class T>
grpc::Status to_status(const result<T>& r) {
  return r ? grpc::Status::OK : to_status(r.error());
}

stdio_options from(const pb::Stdio& s) {
  return {s.tty(), s.open_stdin(), s.capture(), s.rows(), s.columns(), s.spool_limit(), s.non_blocking()};
}

void fill(pb::Exit& into, const exit_record& r) {
  into.set_code(r.code);
  into.set_at(r.at);
  into.set_oom_killed(r.oom_killed);
  into.set_last_sequence(r.last_sequence);
}

// One Events call. Events wait here while the daemon does not read; each exit comes once a stream, OOM events are
// capped.
class event_stream final : public grpc::ServerWriteReactor<pb::Event> {
 public:
  explicit event_stream(std::function<void(event_stream*)> done) : done_(std::move(done)) {}

  void push(const event& what) {
    const std::lock_guard lock(guard_);
    if (over_ || (!what.exit && queue_.size() > most_queued_oom_events)) return;
    pb::Event& e = queue_.emplace_back();
    e.set_container_id(what.container);
    e.set_process_id(what.process);
    if (what.exit) {
      fill(*e.mutable_exit(), *what.exit);
    } else {
      e.mutable_oom();
    }
    if (queue_.size() == 1) StartWrite(&queue_.front());
  }
  void end(const grpc::Status& status) {
    const std::lock_guard lock(guard_);
    if (!std::exchange(over_, true)) Finish(status);
  }

  void OnWriteDone(bool good) override {
    const std::lock_guard lock(guard_);
    queue_.pop_front();
    if (over_) return;
    if (!good) {
      over_ = true;
      Finish(grpc::Status::CANCELLED);
    } else if (!queue_.empty()) {
      StartWrite(&queue_.front());
    }
  }
  void OnCancel() override { end(grpc::Status::CANCELLED); }
  void OnDone() override {
    { const std::lock_guard lock(guard_); }  // who called Finish may still be leaving
    done_(this);
  }

 private:
  std::function<void(event_stream*)> done_;
  std::mutex guard_;
  std::deque<pb::Event> queue_;
  bool over_ = false;
};
}  // namespace

struct agent_service::implementation final : pb::Agent::CallbackService {
  // A second descriptor of each connection, to end it when another daemon has taken over.
  struct connection {
    unique_fd socket;
    uint64_t generation = 0;  ///< 0: has not said Hello
  };

  loop& on;
  agent& what;
  unique_fd listener;
  std::function<void()> ended;
  std::unique_ptr<grpc::Server> server;
  std::map<std::string, connection> connections;  // by gRPC's name of the peer
  event_stream* events = nullptr;

  implementation(loop& l, agent& a, unique_fd socket, std::function<void()> e)
      : on(l), what(a), listener(std::move(socket)), ended(std::move(e)) {
    on.watch(listener.get(), EPOLLIN, [this](uint32_t) { accept(); });
  }

  // ---- connections

  // The server is made for the first connection: one that nobody is connected to wakes several times a second.
  void build() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    grpc::ResourceQuota quota("arca-guest");
    quota.SetMaxThreads(4);
    builder.SetResourceQuota(quota);
    builder.SetMaxReceiveMessageSize(most_received);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, look_ahead);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    server = builder.BuildAndStart();
#ifdef ARCA_QUIET_GRPC
    quiet_grpc();
#endif
  }

  void accept() {
    unique_fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (!peer_is_root(socket.get()) || connections.size() >= most_connections)
      return log().write("agent socket: connection refused");
    if (!server) build();
    if (!server) return log().write("agent socket: gRPC does not start");
    const std::string name = "fd:" + std::to_string(socket.get());
    unique_fd second(fcntl(socket.get(), F_DUPFD_CLOEXEC, 3));
    const int watched = second.get();
    connections[name] = {std::move(second)};
    on.watch(watched, EPOLLRDHUP, [this, name, watched](uint32_t) {
      on.forget(watched);
      connections.erase(name);
    });
    grpc::AddInsecureChannelFromFd(server.get(), socket.release());
  }

  void take_over(const std::string& peer, uint64_t generation) {
    if (const auto mine = connections.find(peer); mine != connections.end()) mine->second.generation = generation;
    for (auto& [name, each] : connections)
      if (each.generation != 0 && each.generation < generation) ::shutdown(each.socket.get(), SHUT_RDWR);
  }

  // ---- calls

  // Runs `work` on the loop; it must call Finish on the reactor once, now or later.
  template <class Work>
  unary* later(context* call, Work work) {
    unary* reactor = call->DefaultReactor();
    on.post([reactor, work = std::move(work)]() mutable { work(reactor); });
    return reactor;
  }
  // For calls that are answered at once with a result.
  template <class Work>
  unary* at_once(context* call, Work work) {
    return later(call, [work = std::move(work)](unary* reactor) mutable { reactor->Finish(to_status(work())); });
  }
  template <class T>
  static agent::reply<T> answer(unary* reactor) {
    return [reactor](const result<T>& r) { reactor->Finish(to_status(r)); };
  }
  static agent::reply<process_started> answer(unary* reactor, pb::ProcessStarted* reply) {
    return [reactor, reply](const result<process_started>& r) {
      if (r) {
        reply->set_pid(r->pid);
        reply->set_started_at(r->started_at);
      }
      reactor->Finish(to_status(r));
    };
  }

  unary* Hello(context* call, const pb::HelloRequest* q, pb::HelloReply* r) override {
    return at_once(call, [this, q, r, peer = call->peer()]() -> result<void> {
      if (q->protocol_version() != protocol_version)
        return fail(errc::unavailable, "protocol version " + std::to_string(q->protocol_version()) +
                                           " is not spoken here, " + std::to_string(protocol_version) + " is");
      ARCA_CHECK(what.hello(q->generation()));
      take_over(peer, q->generation());
      r->set_protocol_version(protocol_version);
      r->set_agent_version(ARCA_VERSION);
      r->set_pid(getpid());
      r->set_machine_id(what.machine_id());
      for (const auto& p : what.processes()) {
        auto* s = r->add_processes();
        s->set_container_id(p.container);
        s->set_process_id(p.process);
        s->set_pid(p.pid);
        s->set_started_at(p.started_at);
        s->set_exited(p.exit.has_value());
        if (p.exit) fill(*s->mutable_exit(), *p.exit);
        s->set_tty(p.tty);
        s->set_paused(p.paused);
      }
      return {};
    });
  }

  unary* Configure(context* call, const pb::ConfigureRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] {
      return what.configure(q->machine_id(), q->machine_dir(), {q->sysctls().begin(), q->sysctls().end()});
    });
  }

  unary* Shutdown(context* call, const pb::Empty*, pb::Empty*) override {
    struct last final : unary {
      std::function<void()> then;
      void OnDone() override {
        then();
        delete this;
      }
    };
    auto* reactor = new last;
    reactor->then = [this] { on.post([this] { ended(); }); };
    (void)call;
    on.post([this, reactor] { what.shutdown([reactor] { reactor->Finish(grpc::Status::OK); }); });
    return reactor;
  }

  unary* CreateContainer(context* call, const pb::CreateContainerRequest* q, pb::ProcessStarted* r) override {
    return later(call, [this, q, r](unary* reactor) {
      create_call c;
      c.container = q->container_id();
      c.oci_spec = q->oci_spec();
      c.rootfs_token = q->rootfs().fd_token();
      c.rootfs_path = q->rootfs().path();
      c.read_only_rootfs = q->rootfs().read_only();
      c.stdio = from(q->stdio());
      for (const auto& m : q->mount_sources()) c.mount_tokens.emplace_back(m.destination(), m.fd_token());
      what.create_container(std::move(c), answer(reactor, r));
    });
  }

  unary* Exec(context* call, const pb::ExecRequest* q, pb::ProcessStarted* r) override {
    return later(call, [this, q, r](unary* reactor) {
      what.exec({q->container_id(), q->process_id(), q->oci_process(), from(q->stdio())}, answer(reactor, r));
    });
  }

  unary* Signal(context* call, const pb::SignalRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] { return what.signal(q->container_id(), q->process_id(), q->signal(), q->all()); });
  }
  unary* Resize(context* call, const pb::ResizeRequest* q, pb::Empty*) override {
    return at_once(call,
                   [this, q] { return what.resize(q->container_id(), q->process_id(), q->rows(), q->columns()); });
  }
  unary* Pause(context* call, const pb::ContainerRef* q, pb::Empty*) override {
    return later(call, [this, q](unary* reactor) { what.pause(q->container_id(), answer<void>(reactor)); });
  }
  unary* Resume(context* call, const pb::ContainerRef* q, pb::Empty*) override {
    return at_once(call, [this, q] { return what.resume(q->container_id()); });
  }
  unary* Acknowledge(context* call, const pb::AcknowledgeRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] { return what.acknowledge(q->container_id(), q->process_id()); });
  }
  unary* Processes(context* call, const pb::ContainerRef* q, pb::ProcessesReply* r) override {
    return at_once(call, [this, q, r]() -> result<void> {
      ARCA_TRY(pids, what.pids(q->container_id()));
      for (const pid_t pid : pids) r->add_pids(pid);
      return {};
    });
  }
  unary* Stats(context* call, const pb::ContainerRef* q, pb::StatsReply* r) override {
    return at_once(call, [this, q, r]() -> result<void> {
      ARCA_TRY(json, what.statistics(q->container_id()));
      r->set_json(json);
      return {};
    });
  }
  unary* UpdateResources(context* call, const pb::UpdateResourcesRequest* q, pb::Empty*) override {
    return later(call, [this, q](unary* reactor) {
      what.update_resources(q->container_id(), q->oci_resources(), answer<void>(reactor));
    });
  }

  unary* ConfigureInterface(context* call, const pb::ConfigureInterfaceRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] {
      const auto& i = q->interface();
      return what.configure_interface(
          {i.name(), i.mac(), {i.addresses().begin(), i.addresses().end()}, i.gateway4(), i.gateway6(), i.mtu()});
    });
  }
  unary* RemoveInterface(context* call, const pb::RemoveInterfaceRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] { return what.remove_interface(q->name()); });
  }

  // The newest stream gets the events; one before it ends.
  grpc::ServerWriteReactor<pb::Event>* Events(context*, const pb::Empty*) override {
    auto* stream = new event_stream([this](event_stream* over) {
      on.post([this, over] {
        if (events == over) {
          events = nullptr;
          what.set_event_sink({});
        }
        delete over;
      });
    });
    on.post([this, stream] {
      if (events) events->end({grpc::StatusCode::ABORTED, "another Events call has taken over"});
      events = stream;
      what.set_event_sink([stream](const event& e) { stream->push(e); });
    });
    return stream;
  }
};

agent_service::agent_service(loop& on, agent& what, unique_fd listener, std::function<void()> ended)
    : implementation_(std::make_unique<implementation>(on, what, std::move(listener), std::move(ended))) {}

agent_service::~agent_service() = default;

}  // namespace arca::guest
