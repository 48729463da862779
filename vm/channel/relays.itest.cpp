// Relays in a real machine; main() is in channel.itest.cpp.
#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "vm/channel/test_machine.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;

TEST_CASE("sockets of the daemon's host in a machine") {
  test_machine machine;
  auto agent = machine.connect();
  REQUIRE(hello(*agent, greeting(1)));
  const auto make = [&](const agent_relay& what) {
    return call([&](auto done) { agent->make_relay(what, limit, done); });
  };
  REQUIRE(make({"1", "token1", 5, 6, 0620}));
  CHECK(make({"1", "again", 5, 6, 0620}));  // another mount of the same socket
  CHECK(why(make({"1", "token2", 5, 6, 0622})) == "relay 1 exists already");
  CHECK(why(make({"1", "token2", 0, 0, 0600})) == "relay 1 exists already");
  CHECK(make({"../x", "token2", 0, 0, 0600}).error().code() == errc::invalid_argument);
  CHECK(make({"x", "token2", 0, 0, 07777}).error().code() == errc::invalid_argument);
  for (int i = 2; i <= 64; ++i) REQUIRE(make({std::to_string(i), "t", 0, 0, 0600}));
  CHECK(why(make({"65", "t", 0, 0, 0600})) == "too many relays");

  // A client of the relay: a tunnel to the socket that the agent itself listens at.
  const auto client = [&](const std::string& relay) {
    agent_tunnel where;
    where.to = agent_tunnel::kind::unix_socket;
    where.path = "/run/machine/relays/relay-" + relay;
    return open_tunnel(*agent, where);
  };
  std::mutex lock;
  std::condition_variable changed;
  std::vector<agent_relayed> told;
  const auto follow = [&] {
    agent->follow_relays([&](const agent_relayed& each) {
      const std::lock_guard guard(lock);
      told.push_back(each);
      changed.notify_all();
      agent->next_relayed();
    });
  };
  const auto news = [&](size_t count) {
    std::unique_lock guard(lock);
    REQUIRE(changed.wait_for(guard, limit, [&] { return told.size() >= count; }));
    CHECK(told.size() == count);
    return std::exchange(told, {});
  };
  auto before = client("1");  // nobody follows yet: it waits
  REQUIRE(before);
  follow();
  auto waiting = news(1);
  CHECK((waiting[0].relay == "1" && waiting[0].uid == 0 && waiting[0].gid == 0));

  int ends[2] = {-1, -1};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  unique_fd server(ends[0]);
  std::atomic<int> over{0};
  agent_tunnel to;
  to.to = agent_tunnel::kind::relayed;
  to.connection = waiting[0].id;
  agent->tunnel_from(unique_fd(ends[1]), to, limit, [&] { ++over; });
  REQUIRE(send(before->get(), "question", 8, 0) == 8);
  shutdown(before->get(), SHUT_WR);
  char text[16] = {};
  REQUIRE(recv(server.get(), text, 8, MSG_WAITALL) == 8);
  CHECK(std::string(text) == "question");
  CHECK(recv(server.get(), text, 1, 0) == 0);  // the end of one direction
  CHECK(over == 0);
  REQUIRE(send(server.get(), "answer!!", 8, 0) == 8);
  server.reset();
  REQUIRE(recv(before->get(), text, 8, MSG_WAITALL) == 8);
  CHECK(recv(before->get(), text, 1, 0) == 0);
  for (int i = 0; i < 4000 && over == 0; ++i) std::this_thread::sleep_for(5ms);
  CHECK(over == 1);

  auto refused = client("2");
  REQUIRE(refused);
  CHECK(call([&](auto done) { agent->refuse_relayed(news(1)[0].id, limit, done); }));
  CHECK(recv(refused->get(), text, 1, 0) == 0);
  CHECK(call([&](auto done) { agent->refuse_relayed(12345, limit, done); }));  // is none any more
  to.connection = 12345;
  agent->tunnel_from(unique_fd(), to, limit, [&] { ++over; });
  for (int i = 0; i < 4000 && over == 1; ++i) std::this_thread::sleep_for(5ms);
  CHECK(over == 2);

  // Not more than 32 are told of at a time; another daemon is told of those that wait.
  std::vector<unique_fd> clients;
  for (int i = 0; i < 40; ++i) {
    auto one = client("3");
    REQUIRE(one);
    clients.push_back(std::move(*one));
  }
  waiting = news(32);
  agent.reset();
  agent = machine.connect(30'000);
  REQUIRE(hello(*agent, greeting(2)));
  told.clear();
  follow();
  waiting = news(32);
  CHECK(call([&](auto done) { agent->refuse_relayed(waiting[0].id, limit, done); }));
  CHECK(news(1)[0].id > waiting.back().id);
  CHECK(call([&](auto done) { agent->ping(limit, done); }));
  agent.reset();  // before what its callbacks use
}
