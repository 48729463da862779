// Tunnels through the real agent of a namespace machine, and what such a machine refuses. Needs root.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/testing/busybox.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

namespace {

// A container that sleeps.
struct sleeper {
  lab in;
  namespace_backend backend{in.settings};
  std::string id = random_hex(32);
  running r;

  sleeper() {
    container_plan plan;
    plan.args = {"sleep", "120"};
    auto started = run(backend, in, id, plan);
    INFO((started ? "" : started.error().message()));
    REQUIRE(started);
    r = std::move(*started);
  }
  ~sleeper() {
    r.box->kill();
    r.box->destroy();
  }
  result<unique_fd> open(const agent_tunnel& where) {
    return wait_for<unique_fd>([&](auto done) { r.box->agent().tunnel(where, 5000ms, done); });
  }
  // A socket bound in the machine's network.
  unique_fd bound(int type, uint16_t& port) const {
    unique_fd made;
    std::thread([&] {
      const auto network = fs::open("/proc/" + std::to_string(r.box->identity().pid) + "/ns/net", O_RDONLY);
      if (network && setns(network->get(), CLONE_NEWNET) == 0) made.reset(socket(AF_INET, type | SOCK_CLOEXEC, 0));
    }).join();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(made.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0);
    REQUIRE(getsockname(made.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);
    if (type == SOCK_STREAM) REQUIRE(listen(made.get(), 8) == 0);
    return made;
  }
};

std::string read_to_end(int fd) {
  std::string out, piece(256u << 10, '\0');
  for (ssize_t n = 0; (n = recv(fd, piece.data(), piece.size(), 0)) > 0;) out.append(piece, 0, static_cast<size_t>(n));
  return out;
}

// Echoes what one client sends; after its end of input a last word.
std::thread echo_one(int listener) {
  return std::thread([listener] {
    const unique_fd one(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    std::string piece(64u << 10, '\0');
    for (ssize_t n = 0; (n = recv(one.get(), piece.data(), piece.size(), 0)) > 0;)
      if (!fs::write_all(one.get(), std::string_view(piece).substr(0, static_cast<size_t>(n)))) return;
    (void)fs::write_all(one.get(), "goodbye");
  });
}

agent_tunnel tcp(uint16_t port) {
  agent_tunnel out;
  out.to = agent_tunnel::kind::tcp;
  out.host = "127.0.0.1";
  out.port = port;
  return out;
}
}  // namespace

TEST_CASE("tunnels lead to the connections inside") {
  sleeper s;
  uint16_t port = 0;

  SECTION("tcp, both ways at once, half-closed") {
    const auto listener = s.bound(SOCK_STREAM, port);
    auto server = echo_one(listener.get());
    auto where = tcp(port);
    where.container = s.id;
    auto mine = s.open(where);
    INFO((mine ? "" : mine.error().message()));
    REQUIRE(mine);
    std::string sent(16u << 20, '\0');
    for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761U >> 13);
    std::thread writer([&] {
      (void)fs::write_all(mine->get(), sent);
      shutdown(mine->get(), SHUT_WR);
    });
    const std::string got = read_to_end(mine->get());
    writer.join();
    server.join();
    CHECK(got.size() == sent.size() + 7);
    CHECK(got == sent + "goodbye");
  }
  SECTION("udp keeps its boundaries") {
    const auto server = s.bound(SOCK_DGRAM, port);
    auto where = tcp(port);
    where.to = agent_tunnel::kind::udp;
    auto mine = s.open(where);
    REQUIRE(mine);
    for (const std::string each : {"one", "three"}) {
      REQUIRE(send(mine->get(), each.data(), each.size(), 0) == static_cast<ssize_t>(each.size()));
      sockaddr_in from{};
      socklen_t size = sizeof from;
      std::string got(100, '\0');
      const ssize_t n = recvfrom(server.get(), got.data(), got.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      REQUIRE(n == static_cast<ssize_t>(each.size()));
      REQUIRE(sendto(server.get(), got.data(), static_cast<size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), size) ==
              n);
      REQUIRE(recv(mine->get(), got.data(), got.size(), 0) == n);
    }
  }
  SECTION("a unix socket in the container's root") {
    const std::string outside = "/proc/" + std::to_string(s.r.started.pid) + "/root/tmp";
    const auto folder = fs::open(outside, O_PATH | O_DIRECTORY);
    REQUIRE(folder);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = "/proc/self/fd/" + std::to_string(folder->get()) + "/s";
    std::strcpy(address.sun_path, path.c_str());
    const unique_fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    auto server = echo_one(listener.get());
    agent_tunnel where;
    where.to = agent_tunnel::kind::unix_socket;
    where.path = "/tmp/s";
    where.container = s.id;
    auto mine = s.open(where);
    INFO((mine ? "" : mine.error().message()));
    REQUIRE(mine);
    shutdown(mine->get(), SHUT_WR);
    CHECK(read_to_end(mine->get()) == "goodbye");
    server.join();
  }
  SECTION("the bytes of a process") {
    agent_exec what;
    what.container_id = s.id;
    what.process_id = "e1";
    what.oci_process = R"({"args":["sh","-c","echo through; seq 1 100000 | tail -1"],"cwd":"/","env":["PATH=/bin"],
                           "user":{"uid":0,"gid":0}})";
    what.stdio.spool_limit = 1 << 20;
    stdio::hello hello;
    hello.generation = s.backend.generation();
    std::memcpy(hello.container_id, s.id.data(), 64);
    std::strcpy(hello.process_id, "e1");
    const auto mine = s.r.box->agent().stdio(hello);
    REQUIRE(mine);
    const auto started = wait_for<agent_started>([&](auto done) { s.r.box->agent().exec(what, 10'000ms, done); });
    INFO((started ? "" : started.error().message()));
    REQUIRE(started);
    CHECK(read_output(mine->get()) == "through\n100000\n");
  }
}

TEST_CASE("a tunnel that leads nowhere says why") {
  sleeper s;
  uint16_t port = 0;
  (void)s.bound(SOCK_STREAM, port);  // closed again
  auto nobody = s.open(tcp(port));
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code() == errc::conflict);
  CHECK(nobody.error().message() == "Connection refused");
  auto no_container = tcp(port);
  no_container.container = "nobody";
  CHECK(s.open(no_container).error().code() == errc::not_found);
  auto name = tcp(port);
  name.host = "localhost";
  CHECK(s.open(name).error().code() == errc::invalid_argument);
  agent_tunnel no_socket;
  no_socket.to = agent_tunnel::kind::unix_socket;
  no_socket.path = "/tmp/none";
  no_socket.container = s.id;
  CHECK(s.open(no_socket).error().code() == errc::conflict);
}

TEST_CASE("a tunnel ends with whoever leaves it") {
  sleeper s;
  uint16_t port = 0;
  const auto listener = s.bound(SOCK_STREAM, port);
  auto mine = s.open(tcp(port));
  REQUIRE(mine);
  const unique_fd inside(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  SECTION("the daemon") {
    REQUIRE(fs::write_all(mine->get(), "last"));
    mine->reset();
    CHECK(read_to_end(inside.get()) == "last");
  }
  SECTION("the machine") {
    s.r.box->kill();
    CHECK(read_to_end(mine->get()).empty());
  }
}

TEST_CASE("a namespace machine has no kernel of its own to be changed") {
  sleeper s;
  auto& agent = s.r.box->agent();
  const auto refused = [](const result<void>& r) {
    return !r && r.error().code() == errc::conflict &&
           r.error().message() == "this machine shares the host's kernel: only a VM has one of its own";
  };
  const auto limit = 5000ms;
  CHECK(refused(wait_for<void>([&](auto done) { agent.mount({"tmpfs", "", "/mnt", "", ""}, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.unmount("/mnt", false, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.write_file({"/tmp/x", "", 0644, ""}, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.make_directory("", "/tmp/x", 0755, false, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.set_sysctls({{"kernel.domainname", "x"}}, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.set_time(1, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.set_up_emulator({"q", "/q", "m", "m"}, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.make_relay({"1", "t", 0, 0, 0600}, limit, done); })));
  CHECK(refused(wait_for<void>([&](auto done) { agent.refuse_relayed(1, limit, done); })));
  // Its network is its own.
  CHECK(wait_for<void>([&](auto done) { agent.ping(limit, done); }));
  CHECK(wait_for<void>([&](auto done) { agent.change_route({"10.9.0.0/16", "", "lo", false}, limit, done); }));
  CHECK(wait_for<void>([&](auto done) { agent.set_interface("lo", false, limit, done); }));
  uint16_t port = 0;
  const auto listener = s.bound(SOCK_STREAM, port);
  auto routed = tcp(port);
  routed.host = "10.9.0.1";
  CHECK(s.open(routed).error().message() == "Network is unreachable");  // the route went with the device
  CHECK(wait_for<void>([&](auto done) { agent.set_interface("lo", true, limit, done); }));
  CHECK(s.open(tcp(port)));
}
