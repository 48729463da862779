// The real agent, each case with both launchers (tests labelled "integration"; root only).
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "guest/exit_journal.hpp"
#include "guest/testing/machine_fixture.hpp"
#include "persistence/base/fs.hpp"

using namespace arca;
using namespace arca::guest;
using namespace arca::guest::testing;
using namespace std::chrono_literals;
using stub = pb::Agent::Stub;

namespace {
// kB of memory of its own that an agent may have whatever its workload does; a sanitizer's shadow counts as its own.
#if defined(__has_feature) && (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
constexpr long most_memory = 1 << 20;
#else
constexpr long most_memory = 6000;
#endif

// Each test case runs once a launcher.
struct machine : machine_fixture {
  explicit machine(bool configure = true) : machine_fixture(configure, each_launcher()) {}
  static std::string each_launcher() { return GENERATE(as<std::string>(), "crun", "native"); }
};

bool alive(int64_t pid) {
  return kill(static_cast<pid_t>(pid), 0) == 0;
}

template <class Condition>
bool soon(Condition holds, std::chrono::microseconds step = 10ms) {
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (std::chrono::steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(step);
  }
  return false;
}

/// As /proc/PID/stat has it: 'T' stopped, 'Z' ended; 0 when there is none.
char state_of(pid_t pid) {
  const auto text = fs::read_file("/proc/" + std::to_string(pid) + "/stat").value_or("");
  const auto name_ends = text.rfind(')');
  return name_ends + 2 < text.size() ? text[name_ends + 2] : '\0';
}

/// No thread of it has anything to do.
bool rests(pid_t pid) {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
    if (state_of(std::stoi(thread.path().filename().string())) != 'S') return false;
  return true;
}

pid_t child_of(pid_t parent, const std::string& name, int64_t other_than) {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(parent) + "/task")) {
    std::ifstream children(thread.path() / "children");
    for (pid_t child = 0; children >> child;)
      if (child != other_than && fs::read_file("/proc/" + std::to_string(child) + "/comm").value_or("") == name + '\n')
        return child;
  }
  return 0;
}
}  // namespace

TEST_CASE("output of both streams, exit code, journal and acknowledgement") {
  machine m;
  auto io = m.open_stdio();  // before the container exists
  REQUIRE(m.create({"sh", "-c", "echo one; echo two >&2; exit 7"}).ok());
  const auto exit = m.wait();
  CHECK(exit.code() == 7);
  CHECK_FALSE(exit.oom_killed());
  io->read_all();
  CHECK(io->out == "one\n");
  CHECK(io->err == "two\n");
  CHECK(io->ended);
  CHECK(exit.last_sequence() == io->last);
  const auto journal = parse_journal(*fs::read_file(m.dir + "/exits"));
  REQUIRE(journal.size() == 1);
  CHECK(journal[0].code == 7);
  CHECK(journal[0].last_sequence == exit.last_sequence());
  CHECK(m.wait().code() == 7);  // again on a new stream, until acknowledged
  REQUIRE(m.hello().processes_size() == 1);
  CHECK(m.hello().processes(0).exit().code() == 7);
  CHECK(m.acknowledge().ok());
  CHECK(m.acknowledge().ok());
  CHECK(m.hello().processes_size() == 0);
  CHECK(fs::read_file(m.dir + "/exits")->empty());
}

TEST_CASE("a container that cannot start says why and leaves nothing") {
  machine m;
  auto status = m.create({"nosuch"});
  CHECK(status.error_code() == grpc::StatusCode::INTERNAL);
  CHECK(status.error_message() == "executable file `nosuch` not found in $PATH: No such file or directory");
  CHECK(m.hello().processes_size() == 0);
  CHECK(access((m.dir + "/bundle-c1").c_str(), F_OK) != 0);
  CHECK(access((m.dir + "/crun/c1").c_str(), F_OK) != 0);
  status = m.create({"true"});
  INFO(status.error_message());
  CHECK(status.ok());
  CHECK(m.wait().code() == 0);
  CHECK(m.create({"true"}).error_code() == grpc::StatusCode::ALREADY_EXISTS);
}

TEST_CASE("stdin: echo, half-close, credit, closed by the process") {
  machine m;
  auto request = m.create_request(m.spec({"cat"}));
  request.mutable_stdio()->set_open_stdin(true);
  REQUIRE(m.create(request).ok());
  auto io = m.open_stdio();
  io->send(stdio::frame_kind::stdin_data, 0, "hello\n");
  REQUIRE(io->read_until([&] { return io->out == "hello\n" && io->credit == 6; }));
  io->send(stdio::frame_kind::stdin_data, 0, "bye");
  io->send(stdio::frame_kind::stdin_close);
  CHECK(io->read_all() == "hello\nbye");
  CHECK(io->stdin_closed == false);
  CHECK(m.wait().code() == 0);
}

TEST_CASE("stdin larger than every buffer keeps its window and its order") {
  machine m;
  auto request = m.create_request(m.spec({"sh", "-c", "sleep 0.3; exec cat"}));
  request.mutable_stdio()->set_open_stdin(true);
  REQUIRE(m.create(request).ok());
  auto io = m.open_stdio();
  std::string sent;
  uint64_t open = 0;
  for (int i = 0; i < 200; ++i) {
    std::string block(stdio::max_payload, static_cast<char>('a' + i % 26));
    io->read_until([&] { return open + block.size() - io->credit <= stdio::stdin_window; });
    io->send(stdio::frame_kind::stdin_data, 0, block);
    open += block.size();
    sent += block;
  }
  io->send(stdio::frame_kind::stdin_close);
  io->read_all();
  CHECK(io->out == sent);
  CHECK(io->credit == sent.size());
}

TEST_CASE("a process that closes its stdin is told of") {
  machine m;
  auto request = m.create_request(m.spec({"sh", "-c", "exec 0</dev/null; sleep 20"}));
  request.mutable_stdio()->set_open_stdin(true);
  REQUIRE(m.create(request).ok());
  auto io = m.open_stdio();
  CHECK(io->read_until([&] { return io->stdin_closed; }));
  io->send(stdio::frame_kind::stdin_data, 0, "dropped");
  CHECK(io->read_until([&] { return io->credit == 7; }));
}

TEST_CASE("terminal: size at start, resize in order, echo, end") {
  machine m;
  auto request = m.create_request(m.spec({"sh", "-c", "stty size; read a; stty size; tty; exit 3"}));
  request.mutable_stdio()->set_tty(true);
  request.mutable_stdio()->set_open_stdin(true);
  request.mutable_stdio()->set_rows(33);
  request.mutable_stdio()->set_columns(77);
  REQUIRE(m.create(request).ok());
  auto io = m.open_stdio();
  REQUIRE(io->read_until([&] { return io->out.find("33 77") != std::string::npos; }));
  io->send(stdio::frame_kind::resize, uint64_t{44} << 32 | 99);
  io->send(stdio::frame_kind::stdin_data, 0, "x\n");
  io->read_all();
  CHECK(io->out.find("x\r\n") != std::string::npos);
  CHECK(io->out.find("44 99") != std::string::npos);
  CHECK(io->out.find("/dev/pts/0") != std::string::npos);
  CHECK(io->err.empty());
  CHECK(m.wait().code() == 3);
}

TEST_CASE("exec: output, code, terminal, missing program, ended container") {
  machine m;
  REQUIRE(m.create({"sleep", "100"}).ok());
  auto io = m.open_stdio("e1");
  REQUIRE(m.exec(m.exec_request("e1", {"sh", "-c", "echo in; hostname; exit 5"})).ok());
  CHECK(io->read_all() == "in\nbox\n");
  CHECK(m.wait("e1").code() == 5);
  CHECK(m.acknowledge("e1").ok());
  const auto missing = m.exec(m.exec_request("e2", {"nosuch"}));
  CHECK(missing.error_code() == grpc::StatusCode::INTERNAL);
  CHECK(missing.error_message() == "executable file `nosuch` not found in $PATH: No such file or directory");
  // crun sets the size beside the start of the program, so the program must not look at once.
  auto with_tty = m.exec_request("e3", {"sh", "-c",
                                        "tty; for i in $(seq 200); do [ \"$(stty size 2>/dev/null)\" = '10 20' ] && "
                                        "break; sleep 0.05; done; stty size"});
  with_tty.mutable_stdio()->set_tty(true);
  with_tty.mutable_stdio()->set_rows(10);
  with_tty.mutable_stdio()->set_columns(20);
  REQUIRE(m.exec(with_tty).ok());
  CHECK(m.open_stdio("e3")->read_all() == "/dev/pts/0\r\n10 20\r\n");
  CHECK(m.hello().processes_size() == 2);
  pb::SignalRequest signal;
  signal.set_container_id(m.id);
  signal.set_process_id("init");
  signal.set_signal(SIGKILL);
  pb::Empty empty;
  REQUIRE(m.call(&stub::Signal, signal, &empty).ok());
  CHECK(m.wait().code() == 137);
  CHECK(m.exec(m.exec_request("e4", {"true"})).error_code() == grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_CASE("an exec whose call was given up is killed and forgotten") {
  machine_fixture m(true, "crun");
  REQUIRE(m.create({"sleep", "100"}).ok());
  // A runtime that was too quick to be stopped leaves its exec running; then the next one is tried.
  int others = 0;
  std::string id;
  pid_t runtime = 0;
  std::unique_ptr<grpc::ClientContext> context;
  std::future<grpc::Status> call;
  for (; others < 20; ++others) {
    id = "e" + std::to_string(others);
    context = std::make_unique<grpc::ClientContext>();
    call = std::async(std::launch::async, [&] {
      pb::ProcessStarted reply;
      return m.stub->Exec(context.get(), m.exec_request(id, {"sleep", "100"}), &reply);
    });
    const auto begun = [&] { return (runtime = child_of(m.agent, "crun", m.last_pid)) != 0; };
    while (!begun() && call.wait_for(100us) != std::future_status::ready) {
    }
    if (runtime != 0 && kill(runtime, SIGSTOP) == 0) {
      char state = 0;  // 'D' for a while: a migration between cgroups waits for RCU
      REQUIRE(soon([&] { return (state = state_of(runtime)) == 'T' || state == 'Z' || state == '\0'; }));
      if (state == 'T') break;
    }
    REQUIRE(call.get().ok());
  }
  REQUIRE(others < 20);
  context->TryCancel();
  CHECK(call.get().error_code() == grpc::StatusCode::CANCELLED);
  // The agent reads the end of the call before the next call, and hears of it on another thread of gRPC's.
  CHECK(m.hello().processes_size() == others + 1);
  REQUIRE(soon([&] { return rests(m.agent); }));
  REQUIRE(kill(runtime, SIGCONT) == 0);
  // Its id is taken while it is known.
  CHECK(soon([&] { return m.exec(m.exec_request(id, {"true"})).ok(); }));
  CHECK(m.hello().processes_size() <= others + 2);
}

TEST_CASE("the end of init ends its execs; a child that holds the output delays an exec's end by 2 s") {
  machine m;
  REQUIRE(m.create({"sleep", "100"}).ok());
  const int64_t init = m.last_pid;
  auto io = m.open_stdio("bg");
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(m.exec(m.exec_request("bg", {"sh", "-c", "echo x; sleep 50 & exit 4"})).ok());
  CHECK(m.wait("bg").code() == 4);
  const double took = milliseconds_since(start);
  CHECK(took > 1900);
  CHECK(took < 15'000);
  CHECK(io->read_all() == "x\n");
  REQUIRE(m.exec(m.exec_request("long", {"sleep", "100"})).ok());
  REQUIRE(kill(static_cast<pid_t>(init), SIGKILL) == 0);
  CHECK(m.wait("long").code() == 137);
  CHECK(m.wait().code() == 137);
}

TEST_CASE("signals: to one, to all, to nobody") {
  machine m;
  REQUIRE(m.create({"sh", "-c", "trap 'echo got; exit 9' TERM; echo up; while :; do sleep 0.05; done"}).ok());
  auto io = m.open_stdio();
  REQUIRE(io->read_until([&] { return io->out == "up\n"; }));
  pb::SignalRequest signal;
  pb::Empty empty;
  signal.set_container_id(m.id);
  signal.set_process_id("nobody");
  signal.set_signal(SIGTERM);
  CHECK(m.call(&stub::Signal, signal, &empty).error_code() == grpc::StatusCode::NOT_FOUND);
  signal.set_process_id("init");
  signal.set_signal(99);
  CHECK(m.call(&stub::Signal, signal, &empty).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  signal.set_signal(SIGTERM);
  CHECK(m.call(&stub::Signal, signal, &empty).ok());
  CHECK(io->read_all() == "up\ngot\n");
  CHECK(m.wait().code() == 9);
  CHECK(m.call(&stub::Signal, signal, &empty).error_code() == grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_CASE("pause, resume, processes, statistics, update") {
  machine m;
  REQUIRE(m.create({"sh", "-c", "sleep 100 & sleep 100; true"}).ok());
  pb::ContainerRef ref;
  ref.set_container_id(m.id);
  pb::Empty empty;
  pb::ProcessesReply pids;
  REQUIRE(soon([&] {
    pids.Clear();
    return m.call(&stub::Processes, ref, &pids).ok() && pids.pids_size() == 3;
  }));
  REQUIRE(m.call(&stub::Pause, ref, &empty).ok());
  CHECK(m.hello().processes(0).paused());
  CHECK(m.exec(m.exec_request("e", {"true"})).error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  REQUIRE(m.call(&stub::Resume, ref, &empty).ok());
  CHECK_FALSE(m.hello().processes(0).paused());
  pb::UpdateResourcesRequest update;
  update.set_container_id(m.id);
  update.set_oci_resources(R"({"pids":{"limit":77}})");
  const auto updated = m.call(&stub::UpdateResources, update, &empty);
  CHECK(updated.error_message() == "");
  pb::StatsReply stats;
  REQUIRE(m.call(&stub::Stats, ref, &stats).ok());
  const auto json = nlohmann::json::parse(stats.json());
  CHECK(json["pids_stats"]["current"] == 3);
  CHECK(json["pids_stats"]["limit"] == 77);
  CHECK(json["cpu_stats"]["cpu_usage"]["total_usage"] > 0);
  CHECK(json["memory_stats"]["usage"] > 0);
  pb::SignalRequest signal;
  signal.set_container_id(m.id);
  signal.set_signal(SIGKILL);
  signal.set_all(true);
  CHECK(m.call(&stub::Signal, signal, &empty).ok());
  CHECK(m.wait().code() == 137);
}

TEST_CASE("the daemon dies and comes back: nothing lost, nothing twice") {
  machine m;
  REQUIRE(m.create({"sh", "-c", "i=1; while [ $i -le 2000 ]; do echo line $i; i=$((i+1)); done; sleep 0.2; echo last"})
              .ok());
  std::string all;
  uint64_t next = 1;
  {
    auto io = m.open_stdio();
    io->auto_acknowledge = false;
    io->read_until([&] { return io->records >= 3; });
    // Acknowledged the first only: the others come again.
    io->send(stdio::frame_kind::ack, 1);
    next = 2;
  }
  auto whole = m.open_stdio("init", 1);  // what is not kept any more cannot come again
  m.disconnect();
  m.connect();
  auto io = m.open_stdio("init", next);
  CHECK(m.wait().code() == 0);
  io->read_all();
  CHECK(io->first <= 2);
  CHECK(io->out.substr(io->out.size() - 15) == "line 2000\nlast\n");
  std::string sequence_check = io->out;
  CHECK(std::count(sequence_check.begin(), sequence_check.end(), '\n') <= 2001);
}

TEST_CASE("while nobody reads: memory, spool, then the writer blocks; all arrives in order afterwards") {
  machine m;
  auto request = m.create_request(m.spec({"sh", "-c", "seq 1 2000000; echo done >/data/flag"}));
  request.mutable_stdio()->set_spool_limit(4u << 20);
  REQUIRE(m.create(request).ok());
  // 14.9 MB of text, room for about 5.3: it must block.
  struct stat spool {};
  REQUIRE(soon([&] { return stat((m.dir + "/spool-1").c_str(), &spool) == 0 && spool.st_size > 3 << 20; }));
  std::this_thread::sleep_for(500ms);
  CHECK(alive(m.last_pid));
  REQUIRE(stat((m.dir + "/spool-1").c_str(), &spool) == 0);
  CHECK(spool.st_size <= 4 << 20);
  CHECK(memory_of(m.agent, "Anonymous") < most_memory);
  {
    auto io = m.open_stdio();
    io->read_until([&] { return io->bytes > 2'000'000; });
    // goes away again in the middle: acknowledged is what was read
  }
  std::this_thread::sleep_for(100ms);
  auto io = m.open_stdio("init", 1);
  std::string rest = io->read_all();
  CHECK(m.wait().code() == 0);
  uint64_t number = std::stoull(rest.substr(rest.find('\n') + 1));
  CHECK(number > 100'000);
  size_t at = rest.find('\n') + 1;
  bool in_order = true;
  for (; at < rest.size(); ++number) {
    const size_t end = rest.find('\n', at);
    in_order = in_order && rest.substr(at, end - at) == std::to_string(number);
    at = end + 1;
  }
  CHECK(in_order);
  CHECK(number == 2'000'001);
}

TEST_CASE("non-blocking mode drops, counts and never blocks the writer") {
  machine m;
  auto request = m.create_request(m.spec({"sh", "-c", "seq 1 2000000; echo end"}));
  request.mutable_stdio()->set_spool_limit(0);
  request.mutable_stdio()->set_non_blocking(true);
  REQUIRE(m.create(request).ok());
  CHECK(m.wait().code() == 0);  // nobody reads
  auto io = m.open_stdio();
  io->read_all();
  CHECK(io->lost > 100);
  CHECK(io->bytes > 900'000);
  CHECK(io->out.substr(0, 4) == "1\n2\n");
}

TEST_CASE("a reader that is frozen blocks its container only") {
  machine m;
  REQUIRE(m.create({"sh", "-c", "dd if=/dev/zero bs=64k count=200 2>/dev/null; echo over"}).ok());
  auto frozen = m.open_stdio();
  frozen->read_until([&] { return frozen->bytes > 0; });
  auto io = m.open_stdio("e");
  REQUIRE(m.exec(m.exec_request("e", {"echo", "free"})).ok());
  CHECK(io->read_all() == "free\n");
  CHECK(alive(m.last_pid - 0) == false);
  CHECK(memory_of(m.agent, "Anonymous") < most_memory);
  frozen->read_all();
  CHECK(frozen->bytes == 200 * 65536 + 5);
  CHECK(m.wait().code() == 0);
}

TEST_CASE("older daemons are refused and cut off") {
  machine m;
  REQUIRE(m.create({"sleep", "100"}).ok());
  auto old = std::move(m.stub);
  m.connect();
  grpc::ClientContext context;
  pb::HelloReply reply;
  pb::HelloRequest request;
  request.set_protocol_version(1);
  request.set_generation(m.generation);
  CHECK(old->Hello(&context, request, &reply).error_code() == grpc::StatusCode::UNAVAILABLE);
  request.set_generation(m.generation - 1);
  CHECK(m.call(&stub::Hello, request, &reply).error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  m.generation -= 1;
  auto io = m.open_stdio();
  CHECK_FALSE(io->read_until([] { return false; }));
  m.generation += 1;
}

TEST_CASE("the kernel's kill for want of memory is reported") {
  machine m;
  auto spec = m.spec({"sh", "-c", "x=a; while :; do x=$x$x; done"});
  spec["linux"]["resources"]["memory"] = {{"limit", 16 << 20}, {"swap", 16 << 20}};
  const auto status = m.create(m.create_request(spec));
  if (!status.ok() && status.error_message().find("memory") != std::string::npos) return;  // no memory controller here
  REQUIRE(status.ok());
  const auto exit = m.wait();
  CHECK(exit.code() == 137);
  CHECK(exit.oom_killed());
  if (!m.saw_oom) m.wait();
  CHECK(m.saw_oom);
}

TEST_CASE("files handed over as descriptors become mounts") {
  machine m;
  auto spec = m.spec({"sh", "-c", "cat /data/note; cat /etc/hosts"});
  spec["mounts"].push_back({{"destination", "/data"}, {"type", "bind"}, {"source", "x"}, {"options", {"rbind", "ro"}}});
  spec["mounts"].push_back({{"destination", "/etc/hosts"}, {"type", "bind"}, {"source", "x"}, {"options", {"rbind"}}});
  const std::string folder = m.dir.substr(0, m.dir.size() - 2) + "/vol";
  mkdir(folder.c_str(), 0755);
  std::ofstream(folder + "/note") << "volume\n";
  std::ofstream(folder + "/hosts") << "127.0.0.1 localhost\n";
  auto request = m.create_request(spec);
  const unique_fd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, folder.c_str(), 1 | O_CLOEXEC)));
  m.send_fd("vol", tree.get());
  const unique_fd hosts(open((folder + "/hosts").c_str(), O_PATH | O_CLOEXEC));
  m.send_fd("hosts", hosts.get());
  auto* source = request.add_mount_sources();
  source->set_destination("/data");
  source->set_fd_token("vol");
  source = request.add_mount_sources();
  source->set_destination("/etc/hosts");
  source->set_fd_token("hosts");
  const auto status = m.create(request);
  CHECK(status.error_message() == "");
  CHECK(m.open_stdio()->read_all() == "volume\n127.0.0.1 localhost\n");
  const auto mounts = fs::read_file("/proc/self/mountinfo");
  CHECK(mounts->find(m.dir) == std::string::npos);
}

TEST_CASE("a container in the host's pid namespace is ended as a whole") {
  machine m;
  auto spec = m.spec({"sh", "-c", "setsid sleep 77 & echo $!; exit 2"});
  spec["linux"]["namespaces"].erase(0);
  REQUIRE(m.create(m.create_request(spec)).ok());
  auto io = m.open_stdio();
  CHECK(m.wait().code() == 2);
  io->read_all();
  const long child = std::stol(io->out);
  CHECK(soon([&] { return !alive(child); }));
}

TEST_CASE("an agent of the pool ends with its socket, an assigned one lives on") {
  {
    machine m(false);
    pb::CreateContainerRequest request;
    request.set_container_id("c1");
    CHECK(m.create(request).error_code() == grpc::StatusCode::FAILED_PRECONDITION);
    m.pool.reset();
    int status = -1;
    CHECK(soon([&] { return waitpid(m.agent, &status, WNOHANG) == m.agent; }));
    CHECK(WIFEXITED(status));
    m.agent = 0;
  }
  machine m;
  m.pool.reset();
  std::this_thread::sleep_for(100ms);
  CHECK(m.hello().machine_id() == "m1");
}

TEST_CASE("the folder is renamed before the agent is assigned") {
  machine m(false);
  const std::string moved = m.dir.substr(0, m.dir.size() - 1) + "n";
  REQUIRE(rename(m.dir.c_str(), moved.c_str()) == 0);
  m.dir = moved;
  pb::ConfigureRequest request;
  request.set_machine_id("m2");
  request.set_machine_dir(m.dir);
  (*request.mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  pb::Empty empty;
  REQUIRE(m.call(&stub::Configure, request, &empty).ok());
  (*request.mutable_sysctls())["kernel.panic"] = "1";
  CHECK(m.call(&stub::Configure, request, &empty).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  REQUIRE(m.create({"echo", "moved"}).ok());
  CHECK(m.open_stdio()->read_all() == "moved\n");
}

TEST_CASE("network devices: loopback is up, an interface is configured and removed") {
  machine m;
  REQUIRE(m.create({"sleep", "100"}).ok());
  const std::string enter = "nsenter -n -t " + std::to_string(m.agent) + " ";
  REQUIRE(std::system((enter + "ip link add veth9 type veth peer name veth8").c_str()) == 0);
  pb::ConfigureInterfaceRequest request;
  request.mutable_interface()->set_name("veth9");
  request.mutable_interface()->add_addresses("10.9.8.7/24");
  request.mutable_interface()->add_addresses("fd00:9::7/64");
  request.mutable_interface()->set_gateway4("10.9.8.1");
  request.mutable_interface()->set_mtu(1400);
  pb::Empty empty;
  const auto status = m.call(&stub::ConfigureInterface, request, &empty);
  CHECK(status.error_message() == "");
  CHECK(std::system((enter + "ip addr show veth9 | grep -q 'inet 10.9.8.7/24 brd 10.9.8.255'").c_str()) == 0);
  CHECK(std::system((enter + "ip addr show veth9 | grep -q 'inet6 fd00:9::7/64'").c_str()) == 0);
  CHECK(std::system((enter + "ip route | grep -q 'default via 10.9.8.1 dev veth9'").c_str()) == 0);
  CHECK(std::system((enter + "ip link show lo | grep -q 'UP'").c_str()) == 0);
  pb::RemoveInterfaceRequest remove;
  remove.set_name("veth9");
  CHECK(m.call(&stub::RemoveInterface, remove, &empty).ok());
  CHECK(m.call(&stub::RemoveInterface, remove, &empty).error_code() == grpc::StatusCode::NOT_FOUND);
}

#if !defined(__has_feature) || !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
// Fifty of them on a host, or one in an emulated machine, would be a busy host (guest/quiet_grpc.hpp).
TEST_CASE("an agent with nothing to do sleeps") {
  machine m;
  REQUIRE(m.create({"sleep", "100"}).ok());
  const auto wakings = [&] {
    long count = 0;
    for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(m.agent) + "/task")) {
      std::ifstream status(thread.path() / "status");
      for (std::string word; status >> word;)
        if (word == "voluntary_ctxt_switches:" && status >> word) count += std::stol(word);
    }
    return count;
  };
  std::this_thread::sleep_for(2s);  // what follows a start, once
  long least = 1000;                // that may take longer on a busy host
  for (int i = 0; i < 5 && least > 1; ++i) {
    const long before = wakings();
    std::this_thread::sleep_for(4s);
    least = std::min(least, wakings() - before);
  }
  CHECK(least <= 1);
}
#endif

TEST_CASE("nothing of the agent leaks into a container, and shutdown ends everything") {
  machine m;
  auto io = m.open_stdio();
  REQUIRE(m.create({"sh", "-c", "ls /proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' /proc/self/status; env; sleep 100"})
              .ok());
  REQUIRE(io->read_until([&] { return io->out.find("TERM") != std::string::npos; }));
  CHECK(io->out.substr(0, 2) == "4\n");  // 0, 1, 2 and the folder itself
  CHECK(io->out.find("SigBlk:\t0000000000000000") != std::string::npos);
  INFO(io->out);
  CHECK(io->out.find("SigIgn:\t0000000000000000") != std::string::npos);
  const int64_t init = m.last_pid;
  pb::Empty empty;
  CHECK(m.call(&stub::Shutdown, pb::Empty(), &empty).ok());
  int status = -1;
  REQUIRE(soon([&] { return waitpid(m.agent, &status, WNOHANG) == m.agent; }));
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  m.agent = 0;
  CHECK(soon([&] { return !alive(init); }));
}
