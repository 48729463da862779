#include "guest/testing/hostile/service.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <thread>

#include "guest/proto/stdio_frame.hpp"
#include "guest/proto/version.hpp"
#include "guest/testing/hostile/stdio.hpp"

namespace arca::hostile {
namespace {
namespace pb = arca::agent::v1;
using grpc::ServerContext;
using grpc::Status;
constexpr int64_t year_one = std::numeric_limits<int64_t>::min(), last_year = std::numeric_limits<int64_t>::max();

/// Fields that the daemon does not know are there to be passed over, however large they are.
void make_huge(google::protobuf::Message& reply, size_t bytes) {
  auto* text = reply.GetReflection()->MutableUnknownFields(&reply)->AddLengthDelimited(1000);
  text->assign(bytes, 'h');
}

class service final : public pb::Agent::Service {
 public:
  service(wish wanted, processes& all, bool own_kernel, std::function<void()> configured)
      : wish_(std::move(wanted)),
        all_(all),
        huge_((own_kernel ? 64u : 512u) << 20),
        configured_(std::move(configured)) {}

 private:
  /// Does what is wished for any call; else `good` fills the answer.
  template <class Reply, class Good>
  Status act(const char* call, ServerContext* context, Reply* reply, Good good) {
    if (wish_.what != call) {
      good();
      return Status::OK;
    }
    if (wish_.how == "never") {
      (void)!::write(STDERR_FILENO, "hostile: it is asked\n", 21);  // the console, in a virtual machine
      while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      return Status::CANCELLED;
    }
    if (wish_.how == "error") return {grpc::StatusCode::INTERNAL, "hostile \x1b[2J" + std::string(5000, 'x')};
    if (wish_.how == "close") _exit(3);
    good();
    if (wish_.how == "huge" || wish_.how == "bomb") make_huge(*reply, huge_);
    if (wish_.how == "bomb") context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    return Status::OK;
  }
  template <class Reply>
  Status act(const char* call, ServerContext* context, Reply* reply) {
    return act(call, context, reply, [] {});
  }

  Status Hello(ServerContext* c, const pb::HelloRequest*, pb::HelloReply* r) override {
    if (hellos_++ > 0 && wish_.is("Hello", "second"))
      while (!c->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return act("Hello", c, r, [&] {
      r->set_protocol_version(wish_.is("Hello", "version") ? 77 : agent_protocol_version);
      if (!wish_.is("Hello", "first")) r->set_revision(agent_protocol_revision);
      r->set_agent_version("hostile");
      r->set_pid(wish_.is("Hello", "numbers") ? -1 : getpid());
      const int count = wish_.is("Hello", "many") ? 20'000 : wish_.is("Hello", "numbers") ? 3 : 0;
      for (int i = 0; i < count; ++i) {
        auto* p = r->add_processes();
        p->set_container_id(wish_.argument.empty() ? all_.container() : wish_.argument);
        p->set_process_id(i == 0 ? "init" : "exec" + std::to_string(i));
        p->set_pid(i % 2 == 0 ? -1 : last_year);
        p->set_started_at(i % 2 == 0 ? year_one : last_year);
      }
      if (count == 0 && !all_.container().empty()) {
        auto* p = r->add_processes();
        p->set_container_id(all_.container());
        p->set_process_id("init");
        p->set_pid(getpid());
        p->set_started_at(now_nanos());
      }
    });
  }
  Status Configure(ServerContext* c, const pb::ConfigureRequest*, pb::Empty* r) override {
    return act("Configure", c, r, configured_);
  }
  Status Shutdown(ServerContext* c, const pb::Empty*, pb::Empty* r) override { return act("Shutdown", c, r); }

  Status CreateContainer(ServerContext* c, const pb::CreateContainerRequest* q, pb::ProcessStarted* r) override {
    return act("CreateContainer", c, r, [&] {
      all_.created(q->container_id());
      r->set_pid(getpid());
      r->set_started_at(now_nanos());
      if (wish_.is("CreateContainer", "numbers")) {
        r->set_pid(-1);
        r->set_started_at(year_one);
      }
      if (wish_.is("CreateContainer", "future")) {
        r->set_pid(last_year);
        r->set_started_at(last_year);
      }
      if (wish_.is("CreateContainer", "ended")) all_.end("init", 3);
    });
  }
  Status Exec(ServerContext* c, const pb::ExecRequest* q, pb::ProcessStarted* r) override {
    return act("Exec", c, r, [&] {
      all_.started(q->process_id());
      all_.end(q->process_id(), 0);
      if (wish_.is("Exec", "late")) std::this_thread::sleep_for(std::chrono::seconds(4));
      r->set_pid(wish_.is("Exec", "numbers") ? -1 : getpid());
      r->set_started_at(now_nanos());
    });
  }
  Status Signal(ServerContext* c, const pb::SignalRequest* q, pb::Empty* r) override {
    return act("Signal", c, r, [&] {
      if (!wish_.is("Signal", "lie")) all_.end(q->process_id(), 128 + q->signal());
    });
  }
  Status Resize(ServerContext* c, const pb::ResizeRequest*, pb::Empty* r) override { return act("Resize", c, r); }
  Status Acknowledge(ServerContext* c, const pb::AcknowledgeRequest*, pb::Empty* r) override {
    return act("Acknowledge", c, r);
  }
  Status Processes(ServerContext* c, const pb::ContainerRef*, pb::ProcessesReply* r) override {
    return act("Processes", c, r, [&] {
      const bool many = wish_.is("Processes", "many");  // and yet not too many bytes for an answer
      const auto add = [r, many](int64_t pid) {
        r->add_pids(pid);
        auto* facts = r->add_facts();
        facts->set_pid(pid);
        if (!many) facts->set_stat("1 (hostile) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 0 0 0 0");
      };
      add(getpid());
      if (wish_.is("Processes", "negative"))
        for (const int64_t pid : {int64_t{-1}, int64_t{0}, -int64_t{getpid()}, year_one, last_year, int64_t{1} << 32})
          add(pid);
      if (many)
        for (int i = 1; i < 100'000; ++i) add(i);
    });
  }
  Status Stats(ServerContext* c, const pb::ContainerRef*, pb::StatsReply* r) override {
    return act("Stats", c, r, [&] {
      r->set_json(wish_.is("Stats", "invalid")  ? "{\"memory_stats\": "
                  : wish_.is("Stats", "deep")   ? std::string(1 << 20, '[')
                  : wish_.is("Stats", "number") ? "-1e999"
                                                : "{}");
    });
  }
  Status UpdateResources(ServerContext* c, const pb::UpdateResourcesRequest*, pb::Empty* r) override {
    return act("UpdateResources", c, r);
  }
  Status Mount(ServerContext* c, const pb::MountRequest*, pb::Empty* r) override { return act("Mount", c, r); }
  Status ConfigureInterface(ServerContext* c, const pb::ConfigureInterfaceRequest*, pb::Empty* r) override {
    return act("ConfigureInterface", c, r);
  }
  Status SetTime(ServerContext* c, const pb::SetTimeRequest*, pb::Empty* r) override { return act("SetTime", c, r); }

  // ---- events

  pb::Event exit_of(const std::string& container, const std::string& process, int32_t code, int64_t at) const {
    pb::Event event;
    event.set_container_id(container);
    event.set_process_id(process);
    event.mutable_exit()->set_code(code);
    event.mutable_exit()->set_at(at);
    event.mutable_exit()->set_last_sequence(std::numeric_limits<uint64_t>::max());
    return event;
  }

  Status Events(ServerContext* c, const pb::EventsRequest*, grpc::ServerWriter<pb::Event>* out) override {
    const auto me = all_.container();
    const bool mine = wish_.what == "Events";
    const auto is = [&](const char* how) { return mine && wish_.how == how; };
    if (is("close")) _exit(3);
    if (is("end")) return Status::OK;
    if (is("abort")) return {grpc::StatusCode::ABORTED, "no"};
    if (is("early") && !out->Write(exit_of(me, "init", 5, now_nanos()))) return Status::OK;
    if (is("past") && !out->Write(exit_of(me, "init", std::numeric_limits<int32_t>::max(), year_one)))
      return Status::OK;
    if (is("future") && !out->Write(exit_of(me, "init", -1, last_year))) return Status::OK;
    if (is("large")) {
      const std::string name(3 << 20, 'n');
      while (out->Write(exit_of(name, name, 0, 0))) {
      }
    }
    if (is("endless"))
      for (uint64_t n = 0; out->Write(exit_of(me, "exec" + std::to_string(n), 1, 0)); ++n) {
      }
    if (is("others"))
      while (out->Write(exit_of(wish_.argument, "init", 1, now_nanos()))) {
      }
    if (is("oom")) {
      pb::Event event;
      event.set_container_id(me);
      event.set_process_id("init");
      event.mutable_oom();
      while (out->Write(event)) {
      }
    }
    pb::Event event;
    while (!c->IsCancelled())
      while (all_.next(event))
        for (int times = is("twice") ? 1000 : 1; times > 0; --times)
          if (!out->Write(event)) return Status::OK;
    return Status::OK;
  }

  // ---- tunnels: dialled, relayed

  using tunnel = grpc::ServerReaderWriter<pb::TunnelData, pb::TunnelData>;

  /// False: nothing was wished.
  bool misbehave(ServerContext* c, tunnel* stream) const {
    pb::TunnelData data, connected;
    connected.set_connected(true);
    const auto is = [&](const char* how) { return wish_.is("Tunnel", how); };
    if (is("never")) {
      while (!c->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else if (is("early")) {
      data.set_data("before it is connected");
      stream->Write(data);
    } else if (is("twice")) {
      stream->Write(connected);
      stream->Write(connected);
    } else if (is("giant")) {
      stream->Write(connected);
      data.set_data(std::string(3 << 20, 'g'));
      stream->Write(data);
    } else if (is("after-end")) {
      stream->Write(connected);
      data.set_end(true);
      stream->Write(data);
      data.set_data(std::string(64 << 10, 'l'));
      while (stream->Write(data)) {
      }
    } else if (is("empty")) {
      stream->Write(connected);
      data.set_data("");
      while (stream->Write(data)) {
      }
    } else if (is("target")) {
      data.mutable_target()->mutable_tcp()->set_port(1);
      stream->Write(data);
    } else {
      return false;
    }
    return true;
  }

  /// Nobody is where a tunnel leads.
  Status Tunnel(ServerContext* c, tunnel* stream) override {
    pb::TunnelData first;
    if (!stream->Read(&first) || !first.has_target() || misbehave(c, stream)) return Status::OK;
    return {grpc::StatusCode::UNAVAILABLE, "Connection refused"};
  }

  const wish wish_;
  processes& all_;
  const size_t huge_;
  const std::function<void()> configured_;
  std::atomic<int> hellos_ = 0;
};

/// The bytes of processes in a virtual machine.
class stdio_service final : public pb::StdioStream::Service {
 public:
  stdio_service(wish wanted, processes& all) : wish_(std::move(wanted)), all_(all) {}

 private:
  using stream_type = grpc::ServerReaderWriter<pb::Chunk, pb::Chunk>;

  Status Open(ServerContext* c, stream_type* stream) override {
    const auto is = [&](const char* how) { return wish_.is("Open", how); };
    pb::Chunk out;
    if (is("never")) {
      while (!c->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    } else if (is("giant")) {
      out.set_data(std::string(3 << 20, 'g'));
      stream->Write(out);
    } else if (is("nonsense")) {
      out.GetReflection()->MutableUnknownFields(&out)->AddVarint(2, 7);
      stream->Write(out);
    } else if (is("empty")) {
      while (stream->Write(out)) {
      }
    } else if (!is("end") && stream->Read(&out)) {
      stdio::hello hello;
      std::string first = out.data();
      if (first.size() > sizeof hello) {  // an ExecRequest follows
        std::memcpy(&hello, first.data(), sizeof hello);
        const auto status = begin_exec(c, stream, stdio::name_of(hello.process_id));
        if (!status.ok()) return status;
        hello.kind = stdio::hello_kind::process;
        first.assign(reinterpret_cast<const char*>(&hello), sizeof hello);
      }
      carry(c, stream, first);
    }
    return Status::OK;
  }

  Status begin_exec(ServerContext* c, stream_type* stream, const std::string& process) {
    const auto is = [&](const char* how) { return wish_.is("Started", how); };
    if (is("error")) return {grpc::StatusCode::INTERNAL, "hostile \x1b[2J" + std::string(5000, 'x')};
    if (is("end")) return {grpc::StatusCode::CANCELLED, {}};
    if (is("close")) _exit(3);
    while (is("never") && !c->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    all_.started(process);
    all_.end(process, 0);
    if (is("late")) std::this_thread::sleep_for(std::chrono::seconds(4));
    stdio::frame started;
    started.kind = is("other") ? stdio::frame_kind::output : stdio::frame_kind::started;
    started.sequence = is("numbers") ? std::numeric_limits<uint64_t>::max() : static_cast<uint64_t>(getpid());
    started.time = is("numbers") ? year_one : now_nanos();
    pb::Chunk out;
    out.set_data(&started, is("short") ? sizeof started / 2 : sizeof started);
    if (is("long")) out.mutable_data()->append(64 << 10, 'l');
    stream->Write(out);
    if (is("twice")) stream->Write(out);
    return Status::OK;
  }

  void carry(ServerContext* c, stream_type* stream, const std::string& first) {
    int ends[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    const unique_fd mine(ends[0]);
    (void)::send(mine.get(), first.data(), first.size(), MSG_NOSIGNAL);
    std::thread([this, fd = ends[1]] { serve_stdio(unique_fd(fd), wish_, all_); }).detach();
    std::thread reader([&] {
      pb::Chunk in;
      while (stream->Read(&in))
        if (::send(mine.get(), in.data().data(), in.data().size(), MSG_NOSIGNAL) < 0) break;
      ::shutdown(mine.get(), SHUT_RDWR);
    });
    std::string bytes(64 << 10, '\0');
    pb::Chunk out;
    for (ssize_t n = 0; (n = ::recv(mine.get(), bytes.data(), bytes.size(), 0)) > 0;) {
      out.set_data(bytes.substr(0, static_cast<size_t>(n)));
      if (!stream->Write(out)) break;
    }
    c->TryCancel();
    reader.join();
  }

  const wish wish_;
  processes& all_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_stdio_service(const wish& wanted, processes& all) {
  return std::make_unique<stdio_service>(wanted, all);
}

std::unique_ptr<grpc::Service> make_service(const wish& wanted, processes& all, bool own_kernel,
                                            std::function<void()> configured) {
  return std::make_unique<service>(wanted, all, own_kernel, std::move(configured));
}

}  // namespace arca::hostile
