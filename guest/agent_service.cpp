#include "guest/agent_service.hpp"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <atomic>
#include <map>

#include "guest/agent_log.hpp"
#include "guest/event_stream.hpp"
#include "guest/fd_passing.hpp"
#include "guest/process_table.hpp"
#include "guest/proto/agent.grpc.pb.h"
#include "guest/proto/version.hpp"
#include "guest/proto/vm_start.hpp"
#include "guest/quiet_grpc.hpp"
#include "guest/relay_server.hpp"
#include "guest/requests.hpp"
#include "guest/rpc_status.hpp"
#include "guest/stdio_call.hpp"
#include "guest/tunnel_call.hpp"
#include "persistence/base/tsan.hpp"

namespace arca::guest {
namespace {
namespace pb = arca::agent::v1;
using unary = grpc::ServerUnaryReactor;
using context = grpc::CallbackServerContext;

constexpr uint32_t protocol_version = agent_protocol_version;
constexpr int most_received = 4 << 20;
constexpr int look_ahead = 256 << 10;
constexpr size_t most_connections = 16;
constexpr size_t most_tunnels = 1024;
constexpr size_t most_streams = 256;

void fill(pb::ProcessesReply& into, process_table& from) {
  into.set_uptime(from.uptime);
  into.set_memory_kib(from.memory_kib);
  into.set_now(from.now);
  for (auto& each : from.processes) {
    auto* facts = into.add_facts();
    facts->set_pid(each.pid);
    facts->set_stat(std::move(each.stat));
    facts->set_command(std::move(each.command));
    facts->set_uid(each.uid);
  }
}

}  // namespace

struct agent_service::implementation final : pb::Agent::CallbackService {
  struct stdio_calls final : pb::StdioStream::WithRawCallbackMethod_Open<pb::StdioStream::Service> {
    explicit stdio_calls(implementation& o) : owner(o) {}
    grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Open(context*) override { return owner.open_stdio(); }
    implementation& owner;
  };

  // A second descriptor of each connection, to end it when another daemon has taken over.
  struct connection {
    unique_fd socket;
    uint64_t generation = 0;  ///< 0: has not said Hello
  };

  loop& on;
  agent& what;
  worker& threads;
  vm_calls* vm;
  relay_server relays;
  tunnel_opener opener;
  stdio_calls stdio{*this};
  std::function<void()> ended;
  unique_fd listener;
  std::unique_ptr<grpc::Server> server;
  std::map<std::string, connection> connections;  // by gRPC's name of the peer
  std::map<std::string, event_stream*> events;    // by container; "": of all
  using relay_stream = push_stream<pb::RelayedConnection>;
  relay_stream* relayed = nullptr;
  size_t tunnels = 0;  ///< open calls that carry bytes

  implementation(loop& l, agent& a, worker& w, vm_calls* v, std::function<void()> e)
      : on(l),
        what(a),
        threads(w),
        vm(v),
        relays(l, std::string(vm_start::machine_dir) + "/relays"),
        opener(l, a, w, relays),
        ended(std::move(e)) {}

  // ---- connections

  // In a namespace machine the server is made for the first connection: one that nobody is connected to wakes several
  // times a second.
  bool build() {
    if (server) return true;
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    builder.RegisterService(&stdio);
    grpc::ResourceQuota quota("arca-guest");
    quota.SetMaxThreads(4);
    builder.SetResourceQuota(quota);
    builder.SetMaxReceiveMessageSize(most_received);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, look_ahead);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    server = builder.BuildAndStart();
    if (!server) return false;
#ifdef ARCA_QUIET_GRPC
    quiet_grpc();
#endif
    return true;
  }

  void accept() {
    unique_fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    if (!peer_is_root(socket.get()) || connections.size() >= most_connections)
      return log().write("agent socket: connection refused");
    if (!build()) return log().write("agent socket: gRPC does not start");
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
  // For calls that only a VM serves.
  template <class Work>
  unary* of_vm(context* call, Work work) {
    return later(call, [this, work = std::move(work)](unary* reactor) mutable {
      if (!vm)
        return reactor->Finish({grpc::StatusCode::FAILED_PRECONDITION,
                                "this machine shares the host's kernel: only a VM has one of its own"});
      work(reactor);
    });
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
      if (vm) ARCA_CHECK(vm_calls::greet(q->random_seed(), q->now()));
      take_over(peer, q->generation());
      r->set_protocol_version(protocol_version);
      r->set_revision(agent_protocol_revision);
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

  unary* Ping(context* call, const pb::Empty*, pb::Empty*) override {
    return at_once(call, [] { return result<void>(); });
  }

  unary* Configure(context* call, const pb::ConfigureRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] {
      return what.configure(q->machine_id(), q->machine_dir(), q->hostname(),
                            {q->sysctls().begin(), q->sysctls().end()});
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
    struct cancellable final : unary {
      std::atomic<bool> cancelled{false};
      void OnCancel() override {
        ARCA_TSAN_ACQUIRE(this);
        cancelled = true;
        ARCA_TSAN_RELEASE(this);
      }
      void OnDone() override {
        ARCA_TSAN_ACQUIRE(this);
        delete this;
      }
    };
    auto* reactor = new cancellable;
    (void)call;
    // gRPC orders these by a count of its own: OnCancel after this function, OnDone after OnCancel and Finish.
    ARCA_TSAN_RELEASE(reactor);
    on.post([this, reactor, q, r] {
      what.exec(from(*q), [this, reactor, q, tell = answer(reactor, r)](const result<process_started>& process) {
        if (process && reactor->cancelled) what.abandon(q->container_id(), q->process_id());
        ARCA_TSAN_RELEASE(reactor);
        tell(process);
      });
    });
    return reactor;
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
    return at_once(call, [this, q] {
      auto first = what.acknowledge(q->container_id(), q->process_id());
      for (const auto& process : q->more_process_ids())
        if (auto next = what.acknowledge(q->container_id(), process); !next && first) first = std::move(next);
      return first;
    });
  }
  unary* Processes(context* call, const pb::ContainerRef* q, pb::ProcessesReply* r) override {
    return later(call, [this, q, r](unary* reactor) {
      auto pids = what.pids(q->container_id());
      if (!pids) return reactor->Finish(to_status(pids));
      for (const pid_t pid : *pids) r->add_pids(pid);
      threads.run<process_table>([pids = std::move(*pids)] { return read_processes(pids); },
                                 [reactor, r](result<process_table> table) {
                                   if (table) fill(*r, *table);
                                   reactor->Finish(to_status(table));
                                 });
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
    return later(call, [this, q](unary* reactor) {
      const auto& i = q->interface();
      const interface_config config{i.name(),     i.mac(),      {i.addresses().begin(), i.addresses().end()},
                                    i.gateway4(), i.gateway6(), i.mtu()};
      if (vm) return vm->configure_interface(config, q->container_id(), answer<void>(reactor));
      reactor->Finish(to_status(what.configure_interface(config)));
    });
  }
  unary* RemoveInterface(context* call, const pb::RemoveInterfaceRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] { return what.remove_interface(q->name()); });
  }

  unary* SetInterface(context* call, const pb::SetInterfaceRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] { return what.set_interface(q->name(), q->up()); });
  }
  unary* ChangeRoute(context* call, const pb::ChangeRouteRequest* q, pb::Empty*) override {
    return at_once(call, [this, q] {
      return what.change_route({q->destination(), q->gateway(), q->interface(), q->remove()});
    });
  }

  // ---- the machine's own kernel

  unary* Mount(context* call, const pb::MountRequest* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) {
      vm->mount({q->type(), q->source(), q->target(), q->options()}, q->token(), answer<void>(reactor));
    });
  }
  unary* Unmount(context* call, const pb::UnmountRequest* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) { vm->unmount(q->target(), q->detach(), answer<void>(reactor)); });
  }
  unary* WriteFile(context* call, const pb::WriteFileRequest* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) {
      vm->write_file(q->container_id(), q->path(), q->content(), q->mode(), answer<void>(reactor));
    });
  }
  unary* MakeDirectory(context* call, const pb::MakeDirectoryRequest* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) {
      vm->make_directory(q->container_id(), q->path(), q->mode(), q->parents(), answer<void>(reactor));
    });
  }
  unary* SetSysctls(context* call, const pb::SetSysctlsRequest* q, pb::Empty*) override {
    return of_vm(call, [q](unary* reactor) {
      reactor->Finish(to_status(vm_calls::set_sysctls({q->sysctls().begin(), q->sysctls().end()})));
    });
  }
  unary* SetTime(context* call, const pb::SetTimeRequest* q, pb::Empty*) override {
    return of_vm(call, [q](unary* reactor) { reactor->Finish(to_status(set_clock(q->now()))); });
  }
  unary* SetUpEmulator(context* call, const pb::SetUpEmulatorRequest* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) {
      vm->set_up_emulator({q->name(), q->interpreter(), q->magic(), q->mask()}, answer<void>(reactor));
    });
  }

  // ---- streams

  grpc::ServerBidiReactor<pb::TunnelData, pb::TunnelData>* Tunnel(context*) override {
    auto* tunnel = new tunnel_call(on, opener, [this](tunnel_call* over) {
      --tunnels;
      delete over;
    });
    on.post([this, tunnel] {
      if (++tunnels > most_tunnels) tunnel->refuse({grpc::StatusCode::FAILED_PRECONDITION, "too many tunnels"});
    });
    return tunnel;
  }

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* open_stdio() {
    auto* call = new stdio_call(on, what, [this](stdio_call* over) {
      --tunnels;
      delete over;
    });
    on.post([this, call] {
      if (++tunnels > most_tunnels) call->refuse({grpc::StatusCode::FAILED_PRECONDITION, "too many connections"});
    });
    return call;
  }

  // The newest stream of a container gets its events; one before it ends.
  grpc::ServerWriteReactor<pb::Event>* Events(context*, const pb::EventsRequest* q) override {
    const std::string of = q->container_id();
    auto* stream = new event_stream([this, of](event_stream* over) {
      on.post([this, of, over] {
        if (const auto mine = events.find(of); mine != events.end() && mine->second == over) {
          events.erase(mine);
          what.set_event_sink(of, {});
        }
        delete over;
      });
    });
    on.post([this, of, stream] {
      if (const auto before = events.find(of); before != events.end())
        before->second->end({grpc::StatusCode::ABORTED, "another Events call has taken over"});
      else if (events.size() >= most_streams)
        return stream->end({grpc::StatusCode::FAILED_PRECONDITION, "too many streams of events"});
      events[of] = stream;
      what.set_event_sink(of, [stream](const event& e) { push(*stream, e); });
    });
    return stream;
  }

  // ---- relays

  unary* MakeRelay(context* call, const pb::MakeRelayRequest* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) {
      auto made = relays.make({q->name(), q->uid(), q->gid(), q->mode()});
      if (made && !what.keep(q->token(), std::move(*made))) made = fail(errc::unavailable, "too many mounts are kept");
      reactor->Finish(to_status(made));
    });
  }
  unary* RefuseConnection(context* call, const pb::ConnectionRef* q, pb::Empty*) override {
    return of_vm(call, [this, q](unary* reactor) {
      relays.take(q->id()).reset();
      reactor->Finish(grpc::Status::OK);
    });
  }
  grpc::ServerWriteReactor<pb::RelayedConnection>* RelayedConnections(context*, const pb::Empty*) override {
    auto* stream = new relay_stream([this](relay_stream* over) {
      on.post([this, over] {
        if (relayed == over) {
          relayed = nullptr;
          relays.set_sink({});
        }
        delete over;
      });
    });
    on.post([this, stream] {
      if (relayed) relayed->end({grpc::StatusCode::ABORTED, "another call has taken over"});
      relayed = stream;
      relays.set_sink([stream](const relayed_connection& each) {
        pb::RelayedConnection told;
        told.set_id(each.id);
        told.set_relay(each.relay);
        told.set_uid(each.uid);
        told.set_gid(each.gid);
        stream->push(std::move(told));
      });
    });
    return stream;
  }
};

agent_service::agent_service(loop& on, agent& what, worker& threads, vm_calls* vm, std::function<void()> ended)
    : implementation_(std::make_unique<implementation>(on, what, threads, vm, std::move(ended))) {}

agent_service::~agent_service() = default;

void agent_service::listen(unique_fd listener) {
  implementation_->listener = std::move(listener);
  implementation_->on.watch(implementation_->listener.get(), EPOLLIN,
                            [it = implementation_.get()](uint32_t) { it->accept(); });
}

result<void> agent_service::prepare() {
  return implementation_->build() ? result<void>{} : fail(errc::internal, "gRPC does not start");
}

void agent_service::serve(unique_fd connection) {
  grpc::AddInsecureChannelFromFd(implementation_->server.get(), connection.release());
}

}  // namespace arca::guest
