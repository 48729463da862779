#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <thread>

#include "persistence/base/text.hpp"
#include "vm/channel/agent_channel.hpp"
#include "vm/channel/echo_finder.hpp"

using namespace arca;
using namespace arca::vm;

namespace {
const std::string secret(32, 'a');

// Stands for QEMU's socket with an agent behind it.
struct fake_agent {
  std::string path = "/tmp/arca-channel-" + random_hex(6);
  unique_fd listener{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::thread thread;

  explicit fake_agent(std::function<void(int)> serve) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    REQUIRE(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    thread = std::thread([this, serve = std::move(serve)] {
      const unique_fd one(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      serve(one.get());
    });
  }
  ~fake_agent() {
    shutdown(listener.get(), SHUT_RDWR);
    thread.join();
    unlink(path.c_str());
  }
};

std::string read_line(int fd) {
  std::string out(72, '\0');
  return recv(fd, out.data(), out.size(), MSG_WAITALL) == 72 ? out : "";
}
void put(int fd, const std::string& bytes) {
  (void)!send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}
void wait_for_end(int fd) {
  char ignored[64];
  while (recv(fd, ignored, sizeof ignored, 0) > 0) {
  }
}
}  // namespace

TEST_CASE("the echo is found behind what is left over, and nothing behind it is taken") {
  const std::string line = "ARCA1 x\n";
  echo_finder f;
  f.expect(line);
  SECTION("alone") {
    CHECK(f.look(line) == line.size());
    CHECK(f.found());
  }
  SECTION("in the middle") {
    CHECK(f.look("stale" + line + "PRI * HTTP/2.0") == 5 + line.size());
    CHECK(f.found());
  }
  SECTION("cut anywhere") {
    const std::string all = "staleARCA1 " + line + "next";
    for (size_t cut = 1; cut < all.size() - 4; ++cut) {
      echo_finder fresh;
      fresh.expect(line);
      CAPTURE(cut);
      CHECK(fresh.look(all.substr(0, cut)) == cut);
      CHECK_FALSE(fresh.found());
      CHECK(fresh.look(all.substr(cut)) == all.size() - 4 - cut);
      CHECK(fresh.found());
    }
  }
  SECTION("an older echo is none") {
    CHECK(f.look("ARCA1 w\n") == 8);
    CHECK_FALSE(f.found());
    f.expect("ARCA1 y\n");
    CHECK(f.look(line + "ARCA1 y\nz") == line.size() + 8);
    CHECK(f.found());
  }
}

TEST_CASE("connect_agent stands right behind the echo") {
  fake_agent agent([](int fd) {
    // It is asked again where that takes long, and must be heard with the newest line.
    for (std::string line; !(line = read_line(fd)).empty();) put(fd, std::string(100'000, 's') + line + "SETTINGS");
  });
  auto got = connect_agent(agent.path, secret, 5000);
  REQUIRE(got);
  std::string next(8, '\0');
  CHECK(recv(got->get(), next.data(), 8, MSG_DONTWAIT) == 8);
  CHECK(next == "SETTINGS");
}

TEST_CASE("connect_agent asks again, and believes the newest answer only") {
  fake_agent agent([](int fd) {
    const std::string lost = read_line(fd);
    std::string line = read_line(fd);
    put(fd, lost + "HTTP/2 of nobody" + line);
    while (!(line = read_line(fd)).empty()) put(fd, line);
  });
  auto got = connect_agent(agent.path, secret, 5000);
  REQUIRE(got);
  pollfd more{got->get(), POLLIN, 0};
  CHECK(poll(&more, 1, 0) == 0);
}

TEST_CASE("connect_agent says why there is no connection") {
  SECTION("nobody answers") {
    fake_agent agent(wait_for_end);
    CHECK(connect_agent(agent.path, secret, 700).error().code() == errc::timeout);
  }
  SECTION("nobody listens") {
    CHECK(connect_agent("/tmp/arca-nobody-" + random_hex(6), secret, 100).error().code() == errc::unavailable);
  }
  SECTION("the machine goes") {
    fake_agent agent([](int fd) { (void)read_line(fd); });
    CHECK(connect_agent(agent.path, secret, 5000).error().code() == errc::unavailable);
  }
  SECTION("no secret") {
    CHECK(connect_agent("/tmp/x", "abc", 100).error().code() == errc::invalid_argument);
  }
  CHECK(new_agent_secret().size() == 32);
  CHECK(new_agent_secret() != new_agent_secret());
}
