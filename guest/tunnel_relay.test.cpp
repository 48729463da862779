#include "guest/tunnel_relay.hpp"

#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <deque>
#include <optional>

using namespace arca;
using namespace arca::guest;
using namespace std::chrono_literals;

namespace {

// A far side that answers like gRPC: later, on the loop.
struct far_side final : tunnel_messages {
  loop& on;
  tunnel_relay* relay = nullptr;
  std::deque<std::string> to_give;
  bool give_end = false, hold_sent = false;
  std::string got;
  std::vector<size_t> sizes;
  bool got_end = false, asked = false;
  std::optional<result<void>> closed;

  explicit far_side(loop& l) : on(l) {}
  virtual ~far_side() = default;
  void send(std::string bytes) override {
    sizes.push_back(bytes.size());
    got += bytes;
    if (!hold_sent) on.post([this] { relay->sent(); });
  }
  void send_end() override {
    got_end = true;
    on.post([this] { relay->sent(); });
  }
  void receive() override {
    REQUIRE_FALSE(asked);
    asked = true;
    on.post([this] { give(); });
  }
  void close(result<void> how) override {
    REQUIRE_FALSE(closed.has_value());
    closed = std::move(how);
  }
  void give() {
    if (!asked || closed) return;
    if (!to_give.empty()) {
      asked = false;
      std::string next = std::move(to_give.front());
      to_give.pop_front();
      relay->received(std::move(next));
    } else if (give_end) {
      asked = false;
      relay->received_end();
    }
  }
};

struct world {
  loop on;
  far_side far{on};
  unique_fd mine;
  std::optional<tunnel_relay> relay;

  explicit world(bool datagrams = false) {
    std::array<int, 2> ends{-1, -1};
    REQUIRE(socketpair(AF_UNIX, (datagrams ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                       ends.data()) == 0);
    mine.reset(ends[0]);
    relay.emplace(on, unique_fd(ends[1]), datagrams, far);
    far.relay = &*relay;
    relay->start();
  }
  // Turns the loop until `done`, at most 10 s.
  void run_until(const std::function<bool()>& done) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!done()) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      on.after(1ms, [this] { on.stop(0); });
      on.run();
    }
  }
  void settle() {
    for (int i = 0; i < 20; ++i) {
      on.after(1ms, [this] { on.stop(0); });
      on.run();
    }
  }
  std::string read_mine() {
    std::string out(1 << 20, '\0');
    const ssize_t n = recv(mine.get(), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return out;
  }
};
}  // namespace

TEST_CASE("a relay carries bytes both ways and ends one direction at a time") {
  world w;
  REQUIRE(write(w.mine.get(), "question", 8) == 8);
  w.run_until([&] { return w.far.got == "question"; });
  shutdown(w.mine.get(), SHUT_WR);
  w.run_until([&] { return w.far.got_end; });
  CHECK_FALSE(w.far.closed);
  w.far.to_give.emplace_back("answer");
  w.far.give_end = true;
  w.far.give();
  w.run_until([&] { return w.far.closed.has_value(); });
  CHECK(w.far.closed->has_value());
  CHECK(w.read_mine() == "answer");
  CHECK(w.read_mine().empty());
}

TEST_CASE("the far side's end is the end of input only") {
  world w;
  w.far.give_end = true;
  w.far.give();
  w.settle();
  CHECK_FALSE(w.far.closed);
  CHECK(recv(w.mine.get(), &w, 1, 0) == 0);
  REQUIRE(write(w.mine.get(), "still", 5) == 5);
  w.run_until([&] { return w.far.got == "still"; });
  w.mine.reset();
  w.run_until([&] { return w.far.closed.has_value(); });
  CHECK(w.far.closed->has_value());
}

TEST_CASE("who does not read stops the other side") {
  world w;
  SECTION("the socket's owner") {
    for (int i = 0; i < 100; ++i) w.far.to_give.emplace_back(most_tunnel_bytes, 'x');
    w.far.give();
    w.settle();
    const size_t left = w.far.to_give.size();
    CHECK(left >= 96);
    w.settle();
    CHECK(w.far.to_give.size() == left);
    size_t all = 0;
    w.run_until([&] { return (all += w.read_mine().size()) == 100 * most_tunnel_bytes; });
  }
  SECTION("the far side") {
    w.far.hold_sent = true;
    REQUIRE(write(w.mine.get(), "first", 5) == 5);
    w.run_until([&] { return w.far.got == "first"; });
    REQUIRE(write(w.mine.get(), "second", 6) == 6);
    w.settle();
    CHECK(w.far.got == "first");
    w.far.hold_sent = false;
    w.relay->sent();
    w.run_until([&] { return w.far.got == "firstsecond"; });
  }
}

TEST_CASE("messages grow with the stream and stay within the limit") {
  world w;
  size_t sent = 0;
  const std::string piece(64u << 10, 'y');
  while (sent < (8u << 20)) {
    const ssize_t n = write(w.mine.get(), piece.data(), piece.size());
    if (n > 0) sent += static_cast<size_t>(n);
    w.on.after(1ms, [&] { w.on.stop(0); });
    w.on.run();
  }
  w.run_until([&] { return w.far.got.size() == sent; });
  CHECK(*std::max_element(w.far.sizes.begin(), w.far.sizes.end()) >= (64u << 10));
  CHECK(*std::max_element(w.far.sizes.begin(), w.far.sizes.end()) <= most_tunnel_bytes);
}

TEST_CASE("a socket that was closed for good ends the tunnel") {
  world w;
  REQUIRE(write(w.mine.get(), "last words", 10) == 10);
  w.mine.reset();
  w.run_until([&] { return w.far.got_end; });
  CHECK(w.far.got == "last words");
  w.far.to_give.assign(3, std::string(1000, 'z'));  // discarded
  w.far.give_end = true;
  w.far.give();
  w.run_until([&] { return w.far.closed.has_value(); });
  CHECK(w.far.closed->has_value());
}

TEST_CASE("a far side that goes on for ever is left after a while") {
  world w;
  w.mine.reset();
  const auto begin = std::chrono::steady_clock::now();
  w.run_until([&] { return w.far.closed.has_value(); });
  CHECK_FALSE(w.far.closed->has_value());
  CHECK(std::chrono::steady_clock::now() - begin > 4s);
}

TEST_CASE("a message that is too large ends the tunnel") {
  world w;
  w.far.to_give.emplace_back(most_tunnel_bytes + 1, 'x');
  w.far.give();
  w.run_until([&] { return w.far.closed.has_value(); });
  CHECK_FALSE(w.far.closed->has_value());
  CHECK(w.read_mine().empty());
}

TEST_CASE("a broken stream closes the socket and says nothing") {
  world w;
  w.relay->broken();
  CHECK(recv(w.mine.get(), &w, 1, 0) == 0);
  w.settle();
  CHECK_FALSE(w.far.closed);
}

TEST_CASE("datagrams keep their boundaries, also empty ones") {
  world w(true);
  for (const std::string each : {"one", "", "three"})
    REQUIRE(send(w.mine.get(), each.data(), each.size(), 0) == static_cast<ssize_t>(each.size()));
  w.run_until([&] { return w.far.sizes.size() == 3; });
  CHECK(w.far.sizes == std::vector<size_t>{3, 0, 5});
  w.far.to_give = {"a", "bc"};
  w.far.give();
  w.settle();
  CHECK(w.read_mine() == "a");
  CHECK(w.read_mine() == "bc");
  w.mine.reset();
  w.run_until([&] { return w.far.got_end; });
}
