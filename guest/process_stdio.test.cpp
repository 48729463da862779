#include "guest/process_stdio.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>

using namespace arca;
using namespace arca::guest;
using namespace std::chrono_literals;

namespace {
// A process played by the test: it holds the child's ends of the pipes.
struct scene {
  loop on;
  chunk_pool pool;
  stdio_options options;
  std::unique_ptr<process_stdio> stdio;
  child_stdio child;
  uint64_t last = ~0ull;

  explicit scene(stdio_options with, bool ended = false) : options(with) {
    stdio = std::make_unique<process_stdio>(on, pool, options, "/tmp/guest-stdio-" + std::to_string(getpid()));
    child = *stdio->open();
    stdio->begin({}, ended, [this](uint64_t sequence) { last = sequence; });
  }
  void run(std::chrono::milliseconds time = 20ms) {
    on.after(time, [this] { on.stop(0); });
    on.run();
  }
  unique_fd attach(uint64_t first = 1) {
    std::array<int, 2> ends{};
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data());
    stdio->attach(std::make_unique<stdio_socket>(on, unique_fd(ends[0])), first);
    return unique_fd(ends[1]);
  }
};
}  // namespace

TEST_CASE("without capture the process writes into nothing and ends without records") {
  scene s({.capture = false});
  struct stat out {};
  REQUIRE(fstat(s.child.out.get(), &out) == 0);
  CHECK(S_ISCHR(out.st_mode));
  s.stdio->process_exited({});
  CHECK(s.last == 0);
}

TEST_CASE("the end of the output is known at the exit when nobody else holds the pipes") {
  scene s({.spool_limit = 1 << 20});
  REQUIRE(write(s.child.out.get(), "x", 1) == 1);
  REQUIRE(write(s.child.err.get(), "y", 1) == 1);
  s.child = {};
  s.stdio->process_exited({});
  CHECK(s.last == 2);
}

TEST_CASE("a sleeping holder of the pipes is waited for 2 s, then the output ends") {
  scene s({});
  REQUIRE(write(s.child.out.get(), "x", 1) == 1);
  s.stdio->process_exited({});
  CHECK(s.last == ~0ull);
  s.run(1700ms);
  CHECK(s.last == ~0ull);
  REQUIRE(write(s.child.out.get(), "z", 1) == 1);
  s.run(600ms);
  CHECK(s.last == 2);
}

TEST_CASE("a process that has ended when it is first heard of: its output is whole, that of a holder still read") {
  scene s({}, true);
  const unique_fd daemon = s.attach();
  REQUIRE(write(s.child.out.get(), "x", 1) == 1);
  s.run();
  CHECK(s.stdio->last_sequence() == 0);
  s.stdio->process_exited({});
  CHECK(s.stdio->last_sequence() == 1);
  CHECK(s.last == ~0ull);
  REQUIRE(write(s.child.out.get(), "z", 1) == 1);
  s.run();
  CHECK(s.stdio->last_sequence() == 2);
  s.child = {};
  s.run();
  CHECK(s.last == 2);
}

TEST_CASE("the frame of the end says how the process ended, to who asked") {
  for (const bool asked : {false, true}) {
    scene s({.exit_with_output = asked});
    const unique_fd daemon = s.attach();
    s.run();
    s.child = {};
    CHECK_FALSE(s.stdio->exit_sent());
    s.stdio->process_exited({7, 123456789});
    CHECK(s.stdio->exit_sent() == asked);
    stdio::frame end;
    REQUIRE(recv(daemon.get(), &end, sizeof end, 0) == static_cast<ssize_t>(sizeof end));
    CHECK(end.kind == stdio::frame_kind::end);
    CHECK(end.reserved == (asked ? stdio::exit_told | 7 : 0));
    CHECK(end.time == (asked ? 123456789 : 0));
  }
  scene alone({.exit_with_output = true});
  alone.child = {};
  alone.stdio->process_exited({7, 1});
  CHECK_FALSE(alone.stdio->exit_sent());  // nobody is connected: as an event then
}

TEST_CASE("nonsense from the daemon's side closes the connection, never more") {
  const std::string too_long = std::string(4, '\x10') + std::string(20, '\xff');
  const std::string from_the_wrong_side = '\1' + std::string(23, '\0');
  for (const std::string& nonsense : {too_long, from_the_wrong_side}) {
    scene s({.open_stdin = true});
    const unique_fd daemon = s.attach();
    REQUIRE(send(daemon.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(nonsense.size()));
    s.run();
    CHECK_FALSE(s.stdio->connected());
    char byte = 0;
    CHECK(recv(daemon.get(), &byte, 1, 0) == 0);
    const unique_fd next = s.attach();
    CHECK(s.stdio->connected());
  }
}

TEST_CASE("a daemon that sends more input than its window is cut off, and memory stays bounded") {
  scene s({.open_stdin = true});
  const unique_fd daemon = s.attach();
  stdio::frame head;
  head.kind = stdio::frame_kind::stdin_data;
  head.length = stdio::max_payload;
  const std::string frame =
      std::string(reinterpret_cast<const char*>(&head), sizeof head) + std::string(head.length, 'x');
  for (int i = 0; i < 200 && s.stdio->connected(); ++i) {
    (void)!send(daemon.get(), frame.data(), frame.size(), MSG_NOSIGNAL);
    s.run(1ms);
  }
  CHECK_FALSE(s.stdio->connected());
}

TEST_CASE("a newer connection replaces the older one") {
  scene s({});
  const unique_fd old = s.attach();
  const unique_fd fresh = s.attach();
  char byte = 0;
  CHECK(recv(old.get(), &byte, 1, 0) == 0);
  REQUIRE(write(s.child.out.get(), "x", 1) == 1);
  s.run();
  stdio::frame head;
  REQUIRE(recv(fresh.get(), &head, sizeof head, 0) == sizeof head);
  CHECK(head.sequence == 1);
  CHECK(head.length == 1);
}
