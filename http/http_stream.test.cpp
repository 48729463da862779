// Long answers, uploads and hijacked connections.
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "http/test_client.hpp"
#include "http/test_server.hpp"

using namespace arca::http;
using namespace arca::http::test;
using namespace std::chrono_literals;

namespace {
template <class Condition>
bool eventually(Condition c) {
  for (int i = 0; i < 500 && !c(); ++i) std::this_thread::sleep_for(10ms);
  return c();
}
const std::string upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
std::string shell(const std::string& headers) {
  return "POST /v1.51/shell HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n" + headers + "\r\n";
}
}  // namespace

TEST_CASE("chunked answers of any size, then the connection goes on") {
  const test_server s;
  client c(s.address());
  const auto a = c.request("GET /download?kb=30000 HTTP/1.1\r\nHost: d\r\n\r\n");
  CHECK(a.chunked);
  CHECK(a.complete);
  REQUIRE(a.body.size() == 30'000'000);
  CHECK(a.body[10'000] == 'b');
  CHECK(a.body.back() == static_cast<char>('a' + 2999 % 26));
  CHECK(c.request("GET /hello HTTP/1.1\r\nHost: d\r\n\r\n").status == 200);
}

TEST_CASE("a reader that leaves in the middle of a stream ends its producer") {
  const test_server s;
  {
    client c(s.address());
    c.send("GET /download?kb=10000000 HTTP/1.1\r\nHost: d\r\n\r\n");
    CHECK(c.wait_for("aaaa"));
  }
  CHECK(eventually([&] { return s.running->connections() == 0; }));
}

TEST_CASE("uploads stream into the channel") {
  const test_server s;
  auto& seen = test_server::seen();
  size_t before = seen.uploaded;
  client c(s.address());
  c.send("POST /upload HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string piece(100'000, 'u');
  std::thread([&] {
    for (int i = 0; i < 100; ++i) c.send("186a0\r\n" + piece + "\r\n");
    c.send("0\r\n\r\n");
  }).join();
  CHECK(c.receive().body == "{\"status\":\"loaded\"}\n");
  CHECK(eventually([&] { return seen.uploaded == before + 10'000'000; }));
  before = seen.uploaded;
  c.send("POST /upload HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  CHECK(c.receive().status == 100);
  c.send("12345");
  CHECK(c.receive().status == 200);
  CHECK(eventually([&] { return seen.uploaded == before + 5; }));
}

TEST_CASE("an upload that is cut off fails its channel; one that is refused ends") {
  const test_server s;
  auto& seen = test_server::seen();
  const int before = seen.upload_failed;
  {
    client c(s.address());
    c.send("POST /upload HTTP/1.1\r\nHost: d\r\nContent-Length: 1000\r\n\r\n123");
    std::this_thread::sleep_for(50ms);
  }
  CHECK(eventually([&] { return seen.upload_failed == before + 1; }));
  client refused(s.address());
  refused.send("POST /upload?stop=100 HTTP/1.1\r\nHost: d\r\nContent-Length: 100000000\r\n\r\n" +
               std::string(1000, 'x'));
  const auto a = refused.receive();
  CHECK(a.status == 400);
  CHECK(a.field("Connection") == "close");
  CHECK(refused.rest().empty());
}

TEST_CASE("hijack: 101, early bytes, half-close, output after it") {
  const test_server s;
  client c(s.address());
  c.send(shell(upgrade) + "early ");
  const auto a = c.receive();
  CHECK(a.status == 101);
  CHECK(a.head ==
        "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: "
        "Upgrade\r\nUpgrade: "
        "tcp\r\n\r\n");
  CHECK(c.wait_for("EARLY "));
  c.send("late\n");
  CHECK(c.wait_for("LATE\n"));
  c.half_close();
  CHECK(c.rest() == "EARLY LATE\nbye 11\n");
}

TEST_CASE("hijack: the request's own body is no input of the stream") {
  const test_server s;
  client c(s.address());
  const std::string begin = "POST /v1.51/shell HTTP/1.1\r\nHost: d\r\n";
  SECTION("with a length") {
    c.send(begin + upgrade + "Content-Length: 15\r\n\r\n{\"stream\":true}");
  }
  SECTION("in pieces") {
    c.send(begin + "Content-Length: 15\r\n\r\n");
    for (const char* piece : {"{\"stream\":", "true}"}) {
      std::this_thread::sleep_for(20ms);
      c.send(piece);
    }
  }
  SECTION("chunked") {
    c.send(begin + upgrade + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  }
  SECTION("chunked without an end") {
    c.send(begin + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    CHECK(c.wait_for("\r\n\r\n"));
  }
  c.send("late\n");
  CHECK(c.wait_for("LATE\n"));
  c.half_close();
  CHECK(c.rest().ends_with("\r\n\r\nLATE\nbye 5\n"));
}

TEST_CASE("hijack without upgrade headers is a 200 until the end") {
  const test_server s;
  client c(s.address());
  c.send(shell(""));
  c.half_close();
  CHECK(c.rest() == "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nbye 0\n");
  client old(s.address());
  old.send("POST /v1.41/shell HTTP/1.1\r\nHost: d\r\n" + upgrade + "\r\n");
  old.half_close();
  CHECK(old.rest().find("raw-stream") != std::string::npos);
  client failed(s.address());
  failed.send("POST /shell-error HTTP/1.1\r\nHost: d\r\n" + upgrade + "\r\n");
  CHECK(failed.rest() ==
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: x\r\n");
}

TEST_CASE("hijack moves much in both directions and survives a reader that pauses") {
  const test_server s;
  client c(s.address());
  c.send(shell(upgrade));
  CHECK(c.receive().status == 101);
  constexpr size_t total = 20'000'000;
  std::thread writer([&] {
    const std::string piece(100'000, 'z');
    for (size_t sent = 0; sent < total; sent += piece.size()) c.send(piece);
    c.half_close();
  });
  std::this_thread::sleep_for(200ms);  // everything is full now
  const auto all = c.rest();
  writer.join();
  CHECK(all.size() == total + std::string("bye 20000000\n").size());
  CHECK(all.ends_with("bye 20000000\n"));
}

TEST_CASE("a hijacked client that hangs up aborts its output, even while its input is blocked") {
  const test_server s;
  auto& seen = test_server::seen();
  const int aborted = seen.output_aborted, closed = seen.stdin_closed;
  {
    client c(s.address());
    c.send(shell(upgrade));
    CHECK(c.receive().status == 101);
  }
  CHECK(eventually([&] { return seen.output_aborted == aborted + 1 && seen.stdin_closed == closed + 1; }));
  {
    client c(s.address());
    c.send(shell(upgrade));
    CHECK(c.receive().status == 101);
    std::thread writer([&] {
      const std::string piece(1'000'000, 'z');
      for (int i = 0; i < 4; ++i)
        ::send(c.fd(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);  // nobody reads the echo
    });
    writer.join();
    std::this_thread::sleep_for(100ms);
  }
  CHECK(eventually([&] { return seen.output_aborted >= aborted + 2; }));
  CHECK(eventually([&] { return s.running->connections() == 0; }));
}
