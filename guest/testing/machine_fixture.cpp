#include "guest/testing/machine_fixture.hpp"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "guest/proto/start.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

namespace arca::guest::testing {
namespace {
using nlohmann::json;
constexpr int patience = 10'000;

[[noreturn]] void give_up(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

unique_fd connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    give_up("connect " + path);
  return made;
}

std::string make_rootfs(const std::string& at) {
  for (const char* folder : {"", "/bin", "/proc", "/sys", "/dev", "/tmp", "/etc", "/data"})
    mkdir((at + folder).c_str(), 0755);
  std::ifstream from("/bin/busybox", std::ios::binary);
  std::ofstream(at + "/bin/busybox", std::ios::binary) << from.rdbuf();
  chmod((at + "/bin/busybox").c_str(), 0755);
  for (const char* name :
       {"sh",   "true", "false", "cat",  "sleep",    "echo", "stty", "dd",     "yes", "ls",     "ps",   "kill", "env",
        "head", "seq",  "tail",  "trap", "hostname", "nc",   "id",   "setsid", "tty", "printf", "grep", "wc",   "cut"})
    symlink("busybox", (at + "/bin/" + name).c_str());
  return at;
}

void remove_cgroups(const std::string& path) {
  for (const char* controller : {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd",
                                 "unified", "net_cls", "net_prio", "perf_event", "hugetlb", "rdma", "misc", ""}) {
    const std::string folder = std::string("/sys/fs/cgroup/") + controller + path;
    rmdir((folder + "/ctr").c_str());
    rmdir(folder.c_str());
  }
}
}  // namespace

// ---- stdio_client

bool stdio_client::take_frames() {
  bool any = false;
  while (buffer_.size() - at_ >= sizeof(stdio::frame)) {
    stdio::frame head;
    std::memcpy(&head, buffer_.data() + at_, sizeof head);
    if (head.length > stdio::max_payload) throw std::runtime_error("oversized frame");
    if (buffer_.size() - at_ < sizeof head + head.length) break;
    const std::string_view payload(buffer_.data() + at_ + sizeof head, head.length);
    at_ += sizeof head + head.length;
    any = true;
    switch (head.kind) {
      case stdio::frame_kind::output:
        if (first == 0) first = head.sequence;
        if (last != 0 && head.sequence != last + 1) throw std::runtime_error("gap in the records");
        last = head.sequence;
        ++records;
        bytes += payload.size();
        if (keep_output) (head.stream == 2 ? err : out) += payload;
        break;
      case stdio::frame_kind::end:
        if (last != 0 && head.sequence != last) throw std::runtime_error("end before the last record");
        ended = true;
        end = head;
        break;
      case stdio::frame_kind::lost:
        lost += head.sequence;
        break;
      case stdio::frame_kind::stdin_credit:
        credit += head.sequence;
        break;
      case stdio::frame_kind::stdin_closed:
        stdin_closed = true;
        break;
      default:
        throw std::runtime_error("unexpected frame");
    }
  }
  buffer_.erase(0, at_);
  at_ = 0;
  return any;
}

bool stdio_client::read_until(const std::function<bool()>& done) {
  static std::array<char, 256u << 10> chunk;
  uint64_t acknowledged = last;
  while (!done()) {
    pollfd wait{socket_.get(), POLLIN, 0};
    const int ready = poll(&wait, 1, patience);
    if (ready == 0)
      throw std::runtime_error("nothing came within 10 s; so far " + out.substr(0, 200) + err.substr(0, 200));
    const ssize_t n = recv(socket_.get(), chunk.data(), chunk.size(), 0);
    if (n <= 0) return false;
    buffer_.append(chunk.data(), static_cast<size_t>(n));
    take_frames();
    if (auto_acknowledge && last != acknowledged) {
      acknowledge();
      acknowledged = last;
    }
  }
  return true;
}

std::string stdio_client::read_all() {
  read_until([this] { return ended; });
  return out + err;
}

void stdio_client::send(stdio::frame_kind kind, uint64_t sequence, std::string_view payload) {
  stdio::frame head;
  head.kind = kind;
  head.sequence = sequence;
  head.length = static_cast<uint32_t>(payload.size());
  std::string all(reinterpret_cast<const char*>(&head), sizeof head);
  all += payload;
  if (::send(socket_.get(), all.data(), all.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(all.size())) give_up("send");
}

// ---- machine_fixture

machine_fixture::machine_fixture(bool configure, const std::string& launcher) {
  std::string pattern = "/run/arca-guest-test-XXXXXX";
  if (!mkdtemp(pattern.data())) give_up("mkdtemp");
  dir = pattern + "/m";
  mkdir(dir.c_str(), 0700);
  rootfs = make_rootfs(pattern + "/rootfs");
  cgroup = "/arca-guest-test/" + pattern.substr(pattern.size() - 6);
  std::array<int, 2> ends{};
  socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
  pool.reset(ends[0]);
  const std::string fd_text = std::to_string(ends[1]);
  std::vector<const char*> argv;
  const bool on_v2 = launcher == "native-v2";
  if (on_v2)
    argv = {"/usr/bin/unshare", "-m", "/bin/sh", "-c",
            "[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec \"$0\" \"$@\""};
  argv.insert(argv.end(), {ARCA_GUEST_PATH, guest_start::flag_machine_dir, dir.c_str(), guest_start::flag_pool_fd,
                           fd_text.c_str(), guest_start::flag_launcher, on_v2 ? "native" : launcher.c_str(), nullptr});
  agent = vfork();
  if (agent == 0) {
    fcntl(ends[1], F_SETFD, 0);
    execv(argv[0], const_cast<char* const*>(argv.data()));
    _exit(127);
  }
  close(ends[1]);
  char ready = 0;
  if (read(pool.get(), &ready, 1) != 1 || ready != guest_start::ready) give_up("the agent did not start");
  connect();
  if (!configure) return;
  pb::ConfigureRequest request;
  request.set_machine_id("m1");
  request.set_machine_dir(dir);
  pb::Empty empty;
  if (const auto s = call(&pb::Agent::Stub::Configure, request, &empty); !s.ok())
    throw std::runtime_error(s.error_message());
}

machine_fixture::~machine_fixture() {
  stub.reset();
  if (agent > 0) {
    kill(agent, SIGTERM);
    for (int i = 0; i < 300 && waitpid(agent, nullptr, WNOHANG) == 0; ++i) usleep(10'000);
    kill(agent, SIGKILL);
    waitpid(agent, nullptr, 0);
  }
  for (int i = 0; i < 50; ++i) {
    remove_cgroups(cgroup);
    if (access(("/sys/fs/cgroup/freezer" + cgroup).c_str(), F_OK) != 0) break;
    usleep(10'000);
  }
  remove_cgroups("/arca-guest-test");
  (void)fs::remove_tree(dir.substr(0, dir.size() - 2));
}

void machine_fixture::connect() {
  unique_fd socket = connect_unix(dir + '/' + guest_start::agent_socket);
  fcntl(socket.get(), F_SETFL, O_NONBLOCK);
  stub = pb::Agent::NewStub(grpc::CreateInsecureChannelFromFd("arca-guest", socket.release()));
  ++generation;
  hello();
}

void machine_fixture::disconnect() {
  stub.reset();
}

pb::HelloReply machine_fixture::hello() {
  pb::HelloRequest request;
  request.set_protocol_version(1);
  request.set_generation(generation);
  pb::HelloReply reply;
  if (const auto s = call(&pb::Agent::Stub::Hello, request, &reply); !s.ok())
    throw std::runtime_error(s.error_message());
  return reply;
}

std::unique_ptr<stdio_client> machine_fixture::open_stdio(const std::string& process, uint64_t first) {
  unique_fd socket = connect_unix(dir + '/' + guest_start::stdio_socket);
  stdio::hello hello;
  hello.generation = generation;
  hello.first_sequence = first;
  std::memcpy(hello.container_id, id.data(), id.size());
  std::memcpy(hello.process_id, process.data(), process.size());
  if (::send(socket.get(), &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello) give_up("send hello");
  return std::make_unique<stdio_client>(std::move(socket));
}

void machine_fixture::send_fd(const std::string& token, int fd) {
  unique_fd socket = connect_unix(dir + '/' + guest_start::stdio_socket);
  stdio::hello hello;
  hello.kind = stdio::hello_kind::fd;
  hello.generation = generation;
  std::memcpy(hello.process_id, token.data(), token.size());
  iovec part{&hello, sizeof hello};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  if (sendmsg(socket.get(), &message, MSG_NOSIGNAL) != sizeof hello) give_up("send fd");
  char answer = 1;
  if (recv(socket.get(), &answer, 1, 0) != 1 || answer != 0) give_up("the descriptor was not taken");
}

json machine_fixture::spec(const std::vector<std::string>& argv) const {
  const json caps = {"CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"};
  json out;
  out["ociVersion"] = "1.0.2";
  out["process"] = {{"user", {{"uid", 0}, {"gid", 0}}},
                    {"args", argv},
                    {"env", {"PATH=/bin", "TERM=xterm"}},
                    {"cwd", "/"},
                    {"noNewPrivileges", true},
                    {"capabilities", {{"bounding", caps}, {"effective", caps}, {"permitted", caps}}}};
  out["root"] = {{"path", "unset"}};
  out["hostname"] = "box";
  out["mounts"] = {
      {{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}},
      {{"destination", "/dev"}, {"type", "tmpfs"}, {"source", "tmpfs"}, {"options", {"nosuid", "mode=755"}}},
      {{"destination", "/dev/pts"},
       {"type", "devpts"},
       {"source", "devpts"},
       {"options", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}}}};
  out["linux"] = {{"cgroupsPath", cgroup + "/ctr"},
                  {"resources", json::object()},
                  {"namespaces", {{{"type", "pid"}}, {{"type", "ipc"}}, {{"type", "uts"}}, {{"type", "mount"}}}}};
  return out;
}

pb::CreateContainerRequest machine_fixture::create_request(const json& oci) {
  const auto tree = static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, rootfs.c_str(), OPEN_TREE_CLONE | O_CLOEXEC));
  if (tree < 0) give_up("open_tree");
  const unique_fd owned(tree);
  const std::string token = "root" + std::to_string(++tokens_);
  send_fd(token, tree);
  pb::CreateContainerRequest request;
  request.set_container_id(id);
  request.set_oci_spec(oci.dump());
  request.mutable_rootfs()->set_fd_token(token);
  request.mutable_stdio()->set_capture(true);
  request.mutable_stdio()->set_spool_limit(8u << 20);
  return request;
}

grpc::Status machine_fixture::create(const pb::CreateContainerRequest& request) {
  pb::ProcessStarted reply;
  auto status = call(&pb::Agent::Stub::CreateContainer, request, &reply);
  last_pid = reply.pid();
  return status;
}

pb::ExecRequest machine_fixture::exec_request(const std::string& exec, const std::vector<std::string>& argv) const {
  pb::ExecRequest request;
  request.set_container_id(id);
  request.set_process_id(exec);
  request.set_oci_process(
      json{{"user", {{"uid", 0}, {"gid", 0}}}, {"args", argv}, {"env", {"PATH=/bin"}}, {"cwd", "/"}}.dump());
  request.mutable_stdio()->set_capture(true);
  request.mutable_stdio()->set_spool_limit(8u << 20);
  return request;
}

grpc::Status machine_fixture::exec(const pb::ExecRequest& request) {
  pb::ProcessStarted reply;
  auto status = call(&pb::Agent::Stub::Exec, request, &reply);
  last_pid = reply.pid();
  return status;
}

pb::Exit machine_fixture::wait(const std::string& process) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const auto reader = stub->Events(&context, pb::EventsRequest());
  for (pb::Event event; reader->Read(&event);) {
    if (event.has_oom()) saw_oom = true;
    if (event.container_id() != id || event.process_id() != process || !event.has_exit()) continue;
    context.TryCancel();
    return event.exit();
  }
  throw std::runtime_error("no exit event: " + reader->Finish().error_message());
}

grpc::Status machine_fixture::acknowledge(const std::string& process) {
  pb::AcknowledgeRequest request;
  request.set_container_id(id);
  request.set_process_id(process);
  pb::Empty empty;
  return call(&pb::Agent::Stub::Acknowledge, request, &empty);
}

long memory_of(pid_t pid, const std::string& field) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string line; std::getline(file, line);)
    if (starts_with(line, field + ":")) return std::stol(line.substr(field.size() + 1));
  return -1;
}

long cpu_nanos(pid_t pid) {
  long sum = 0;
  std::error_code gone;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(thread.path() / "schedstat");
    long nanos = 0;
    file >> nanos;
    sum += nanos;
  }
  return sum;
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace arca::guest::testing
