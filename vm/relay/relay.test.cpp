#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/relay/dial_target.hpp"
#include "vm/relay/host_socket.hpp"
#include "vm/relay/published_socket.hpp"

using namespace arca;
using namespace arca::vm;
using namespace std::chrono_literals;

namespace {
struct folder {
  std::string at = "/tmp/arca-relay-" + random_hex(6);
  folder() { REQUIRE(fs::make_dirs(at, 0755)); }
  ~folder() { (void)fs::remove_tree(at); }
};

unique_fd listening(const std::string& path, mode_t mode = 0666) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(chmod(path.c_str(), mode) == 0);
  REQUIRE(listen(made.get(), 4) == 0);
  return made;
}
unique_fd connected(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) made.reset();
  return made;
}
std::string why(const auto& r) {
  return r ? "" : r.error().message();
}
}  // namespace

TEST_CASE("addresses to dial") {
  const auto tcp = parse_dial_target("tcp:127.0.0.1:80");
  REQUIRE(tcp);
  CHECK((tcp->to == agent_tunnel::kind::tcp && tcp->host == "127.0.0.1" && tcp->port == 80));
  const auto udp = parse_dial_target("udp:[fe80::1]:53");
  REQUIRE(udp);
  CHECK((udp->to == agent_tunnel::kind::udp && udp->host == "fe80::1" && udp->port == 53));
  CHECK(parse_dial_target("tcp:localhost:65535")->host == "127.0.0.1");
  const auto local = parse_dial_target("unix:/run/a:b");
  REQUIRE(local);
  CHECK((local->to == agent_tunnel::kind::unix_socket && local->path == "/run/a:b"));
  for (const char* bad :
       {"", "tcp", "tcp:", "tcp:127.0.0.1", "tcp:127.0.0.1:", "tcp:127.0.0.1:0", "tcp:127.0.0.1:65536",
        "tcp:127.0.0.1:8x", "tcp:example.org:80", "tcp::80", "unix:", "unix:run/a", "vsock:3:4", "sctp:127.0.0.1:1"}) {
    CAPTURE(bad);
    const auto refused = parse_dial_target(bad);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code() == errc::invalid_argument);
  }
}

TEST_CASE("a socket is named by where it is, without links") {
  const folder in;
  REQUIRE(fs::make_dirs(in.at + "/real", 0755));
  REQUIRE(symlink("real", (in.at + "/link").c_str()) == 0);
  const auto listener = listening(in.at + "/real/s", 0620);
  const unique_fd file(open((in.at + "/link/s").c_str(), O_PATH | O_CLOEXEC));
  const auto named = host_socket_of(file.get());
  INFO(why(named));
  REQUIRE(named);
  CHECK(named->path == in.at + "/real/s");
  CHECK(named->mode == 0620);
  CHECK(named->uid == getuid());
}

TEST_CASE("what lies at a socket's place later is not followed elsewhere") {
  const folder in;
  const auto secret = listening(in.at + "/secret"), shared = listening(in.at + "/shared");
  REQUIRE(connect_as(in.at + "/shared", 0, 0, 1000));
  REQUIRE(unlink((in.at + "/shared").c_str()) == 0);
  CHECK(connect_as(in.at + "/shared", 0, 0, 1000).error().code() == errc::not_found);
  REQUIRE(symlink("secret", (in.at + "/shared").c_str()) == 0);
  CHECK_FALSE(connect_as(in.at + "/shared", 0, 0, 1000));
  REQUIRE(unlink((in.at + "/shared").c_str()) == 0);
  REQUIRE(fs::write_file_atomic(in.at + "/shared", "x"));
  CHECK(why(connect_as(in.at + "/shared", 0, 0, 1000)).ends_with("is no socket any more"));
  REQUIRE(unlink((in.at + "/shared").c_str()) == 0);
  const auto again = listening(in.at + "/shared");  // its server was started anew
  CHECK(connect_as(in.at + "/shared", 0, 0, 1000));
}

TEST_CASE("nobody listens, nobody takes connections") {
  const folder in;
  auto listener = listening(in.at + "/s");
  std::vector<unique_fd> open;
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    auto one = connect_as(in.at + "/s", 0, 0, 300);
    if (!one) break;
    REQUIRE(open.size() < 100);
    open.push_back(std::move(*one));
  }
  CHECK(std::chrono::steady_clock::now() - begin >= 300ms);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  listener.reset();
  CHECK(why(connect_as(in.at + "/s", 0, 0, 300)) == in.at + "/s: Connection refused");
}

TEST_CASE("a server sees the user that connects, and this process stays what it was") {
  if (getuid() != 0) return;
  const folder in;
  const auto listener = listening(in.at + "/s", 0600);  // of root alone: who may connect was asked elsewhere
  const auto seen = [&](uid_t uid, gid_t gid) {
    // A thread, as connect_as wants it.
    auto client = std::async(std::launch::async, [&] { return connect_as(in.at + "/s", uid, gid, 1000); }).get();
    INFO(why(client));
    REQUIRE(client);
    const unique_fd server(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ucred who{};
    socklen_t size = sizeof who;
    REQUIRE(getsockopt(server.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0);
    return std::pair(who.uid, who.gid);
  };
  CHECK(seen(0, 0) == std::pair<uid_t, gid_t>(0, 0));
  CHECK(seen(1000, 50) == std::pair<uid_t, gid_t>(1000, 50));
  CHECK(seen(0, 50) == std::pair<uid_t, gid_t>(0, 50));
  CHECK(seen(1000, 0) == std::pair<uid_t, gid_t>(1000, 0));
  CHECK(geteuid() == 0);
  const auto status = fs::read_file("/proc/self/status");
  REQUIRE(status);
  CHECK(status->find("Uid:\t0\t0\t0\t0") != std::string::npos);
  CHECK(status->find("Gid:\t0\t0\t0\t0") != std::string::npos);
}

TEST_CASE("a published socket is its owner's, and goes with it") {
  const folder in;
  const auto path = in.at + "/out";
  std::mutex lock;
  std::vector<std::pair<unique_fd, std::function<void()>>> tunnels;
  const auto count = [&] {
    const std::lock_guard guard(lock);
    return tunnels.size();
  };
  const auto soon = [](const auto& holds) {
    for (int i = 0; i < 1000 && !holds(); ++i) std::this_thread::sleep_for(5ms);
    return holds();
  };
  auto published = published_socket::listen(path, [&](unique_fd connection, std::function<void()> over) {
    const std::lock_guard guard(lock);
    tunnels.emplace_back(std::move(connection), std::move(over));
  });
  INFO(why(published));
  REQUIRE(published);
  struct stat info {};
  REQUIRE(stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(published_socket::listen(path, {}).error().code() == errc::conflict);
  CHECK(published_socket::listen("relative", {}).error().code() == errc::invalid_argument);

  std::vector<unique_fd> clients;
  for (size_t i = 0; i < published_socket::most_connections + 3; ++i) {
    clients.push_back(connected(path));
    REQUIRE(clients.back());
  }
  CHECK(soon([&] { return count() == published_socket::most_connections; }));
  std::this_thread::sleep_for(20ms);
  CHECK(count() == published_socket::most_connections);
  {
    const std::lock_guard guard(lock);
    tunnels.front().second();
  }
  CHECK(soon([&] { return count() == published_socket::most_connections + 1; }));
  published->reset();
  CHECK(soon([&] { return access(path.c_str(), F_OK) != 0; }));
  CHECK_FALSE(connected(path));
}
