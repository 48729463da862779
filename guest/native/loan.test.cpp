#include "guest/native/loan.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

using namespace arca::guest::native;
using namespace std::chrono_literals;

namespace {
// A process that ends when it is told to; until then it holds its end of the channel.
struct scene {
  std::array<int, 2> channel{}, order{};
  pid_t child = -1;

  scene() {
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel.data()) == 0);
    REQUIRE(pipe(order.data()) == 0);
    child = fork();
    if (child != 0) return;
    char byte = 0;
    if (read(order[0], &byte, 1) == 1 && byte == 'c') {  // as execve does
      close(channel[1]);
      (void)read(order[0], &byte, 1);
    }
    _exit(0);
  }
  scene(const scene&) = delete;
  scene& operator=(const scene&) = delete;
  ~scene() {
    tell('e');
    waitpid(child, nullptr, 0);
    for (const int fd : {channel[0], order[0], order[1]}) close(fd);
  }
  void tell(char what) const { REQUIRE(write(order[1], &what, 1) == 1); }
  void await_end() const {
    siginfo_t how;
    REQUIRE(waitid(P_PID, static_cast<id_t>(child), &how, WEXITED | WNOWAIT) == 0);
  }
};

// A thread that waits as `lent` says. The kernel tells when it stands in a system call.
struct waiting {
  std::atomic<pid_t> id = 0;
  std::thread thread;

  waiting(loan& lent, const scene& s)
      : thread([this, &lent, &s] {
          id = gettid();
          lent.wait(s.child, s.channel[0], s.channel[1]);
        }) {}
  void await_call(long number) const {
    const auto limit = std::chrono::steady_clock::now() + 20s;
    for (long now = -1; now != number; std::this_thread::yield()) {
      REQUIRE(std::chrono::steady_clock::now() < limit);
      std::ifstream("/proc/self/task/" + std::to_string(id) + "/syscall") >> now;
    }
  }
};

std::chrono::nanoseconds time_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::steady_clock::now() - begin;
}
}  // namespace

TEST_CASE("loan: a child that ends soon is taken over once, and its thread goes on at once") {
  const scene s;
  loan lent(20s);
  CHECK_FALSE(lent.take_over_ended(s.child));  // it is not lent yet
  waiting other(lent, s);
  other.await_call(SYS_futex);
  CHECK_FALSE(lent.take_over_ended(s.child));  // it runs
  CHECK_FALSE(lent.take_over_ended(0));        // nor is there a process before the clone
  s.tell('e');
  s.await_end();
  CHECK(lent.take_over_ended(s.child));
  lent.let_go();
  CHECK_FALSE(lent.take_over_ended(s.child));
  CHECK(time_of([&] { other.thread.join(); }) < 10s);
  CHECK(lent.taken_over());
}

TEST_CASE("loan: after its patience a thread waits until nothing is borrowed any more") {
  const scene s;
  loan lent(10ms);
  waiting other(lent, s);
  other.await_call(SYS_ppoll);
  s.tell('c');
  other.thread.join();
  CHECK_FALSE(lent.taken_over());
  s.tell('e');
  s.await_end();
  CHECK_FALSE(lent.take_over_ended(s.child));  // the thread tells
}

TEST_CASE("loan: a child that has ended before is not waited for") {
  const scene s;
  s.tell('e');
  s.await_end();
  loan lent(20s);
  CHECK(time_of([&] { lent.wait(s.child, s.channel[0], s.channel[1]); }) < 10s);
  CHECK_FALSE(lent.taken_over());
}

TEST_CASE("loan: how long a child took is known when it was ready") {
  loan lent(1s);
  CHECK(lent.set_up_time() == 0ns);
  std::this_thread::sleep_for(2ms);
  lent.ready();
  CHECK(lent.set_up_time() >= 2ms);
  CHECK(lent.set_up_time() < 10s);
}
