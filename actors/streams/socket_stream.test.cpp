#include "actors/streams/socket_stream.hpp"

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <thread>

#include "persistence/base/fs.hpp"

using namespace arca;

namespace {
struct world {
  stdio_service service{1};
  unique_fd far;
  stream near;
  explicit world(bool datagrams = false) {
    int ends[2] = {-1, -1};
    REQUIRE(socketpair(AF_UNIX, (datagrams ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends) == 0);
    far.reset(ends[0]);
    near = open_socket_stream(service, unique_fd(ends[1]), datagrams);
  }
  std::string read_far() const {
    std::string out(1 << 18, '\0');
    const auto n = recv(far.get(), out.data(), out.size(), 0);
    out.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return out;
  }
  /// Until the output's end.
  std::string read_near() const {
    std::string out;
    for (auto got = near.output->read_blocking(); !got.empty(); got = near.output->read_blocking())
      for (const auto& each : got) out += *each;
    return out;
  }
};
}  // namespace

TEST_CASE("a socket as a stream: the end of the input is passed on, the answer comes after it") {
  world w;
  w.near.input->push("question");
  w.near.input->close();
  CHECK(w.read_far() == "question");
  CHECK(w.read_far().empty());
  REQUIRE(fs::write_all(w.far.get(), "answer"));
  w.far.reset();
  CHECK(w.read_near() == "answer");
}

TEST_CASE("a socket as a stream: much, both ways at once") {
  world w;
  const std::string piece(100'000, 'x');
  constexpr size_t count = 200;
  std::thread far([&] {
    size_t got = 0;
    for (auto part = w.read_far(); !part.empty(); part = w.read_far()) {
      got += part.size();
      if (!fs::write_all(w.far.get(), part)) break;
    }
    CHECK(got == count * piece.size());
    w.far.reset();
  });
  std::thread near([&] {
    for (size_t i = 0; i < count; ++i)
      if (!w.near.input->push_blocking(piece)) return;
    w.near.input->close();
  });
  CHECK(w.read_near().size() == count * piece.size());
  near.join();
  far.join();
}

TEST_CASE("a socket as a stream: who does not read stops the other side") {
  world w;
  SECTION("the client") {
    const std::string bytes(1 << 16, 'y');
    size_t sent = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
    while (std::chrono::steady_clock::now() < end) {
      const auto n = send(w.far.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (n > 0) sent += static_cast<size_t>(n);
    }
    CHECK(sent < (3u << 20));
    CHECK(w.near.output->queued() <= (2u << 20));
    w.far.reset();
    CHECK(w.read_near().size() == sent);
  }
  SECTION("the socket") {
    std::thread pusher([&] {
      while (w.near.input->push_blocking(std::string(1 << 16, 'z'))) {
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    CHECK(w.near.input->queued() <= (2u << 20));
    w.near.output->abort();  // the client hangs up
    while (!w.read_far().empty()) {
    }
    pusher.join();
  }
}

TEST_CASE("a socket as a stream: datagrams stay apart, and the input's end is not theirs") {
  world w(true);
  for (const char* each : {"one", "two"}) w.near.input->push(std::string(each));
  w.near.input->close();
  CHECK(w.read_far() == "one");
  CHECK(w.read_far() == "two");
  REQUIRE(send(w.far.get(), "", 0, 0) == 0);
  REQUIRE(send(w.far.get(), "late", 4, 0) == 4);
  const auto got = w.near.output->read_blocking();
  REQUIRE(got.size() == 1);
  CHECK(*got.front() == "late");
  w.far.reset();
  CHECK(w.read_near().empty());
}

TEST_CASE("a socket as a stream: one that takes nothing more still gives") {
  world w;
  REQUIRE(fs::write_all(w.far.get(), "last words"));
  shutdown(w.far.get(), SHUT_RD);
  std::thread pusher([&] {
    while (w.near.input->push_blocking(std::string(1 << 16, 'z'))) {
    }
  });
  pusher.join();
  w.far.reset();
  CHECK(w.read_near() == "last words");
}
