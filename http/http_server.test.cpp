// HTTP as clients see it: framing, keep-alive, limits, malformed input.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "http/test_client.hpp"
#include "http/test_server.hpp"

using namespace arca::http;
using namespace arca::http::test;
using namespace std::chrono_literals;

namespace {
std::string get(const std::string& target, const std::string& more = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: d\r\n" + more + "\r\n";
}
std::string post(const std::string& target, const std::string& body, const std::string& more = "") {
  return "POST " + target + " HTTP/1.1\r\nHost: d\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more +
         "\r\n" + body;
}
template <class Condition>
bool eventually(Condition c) {
  for (int i = 0; i < 500 && !c(); ++i) std::this_thread::sleep_for(10ms);
  return c();
}
}  // namespace

TEST_CASE("answers, keeps the connection and has Docker's headers") {
  const test_server s;
  client c(s.address());
  for (int i = 0; i < 3; ++i) {
    const auto a = c.request(get("/v1.51/hello?q=%41+b"));
    CHECK(a.status == 200);
    CHECK(a.body == "hello A b");
    CHECK(a.field("Api-Version") == "1.51");
    CHECK(a.field("Docker-Experimental") == "false");
    CHECK(a.field("Ostype") == "linux");
    CHECK(a.field("Server").starts_with("Arca/"));
    CHECK(a.field("Content-Type") == "text/plain; charset=utf-8");
    CHECK(a.field("Date").ends_with(" GMT"));
    CHECK(a.field("Connection").empty());
  }
}

TEST_CASE("HEAD has the headers of GET and no body") {
  const test_server s;
  client c(s.address());
  const auto a = c.request("HEAD /hello?q=abc HTTP/1.1\r\nHost: d\r\n\r\n");
  CHECK(a.status == 200);
  CHECK(a.field("Content-Length") == "9");
  CHECK(c.request(get("/hello")).body == "hello ");
}

TEST_CASE("pipelined requests are answered in order") {
  const test_server s;
  client c(s.address());
  std::string all;
  for (int i = 0; i < 200; ++i)
    all += i % 2 != 0 ? post("/echo", std::to_string(i)) : get("/hello?q=" + std::to_string(i));
  c.send(all);
  for (int i = 0; i < 200; ++i) CHECK(c.receive().body == (i % 2 != 0 ? "" : "hello ") + std::to_string(i));
}

TEST_CASE("routes, versions and redirects as Docker answers them") {
  const test_server s;
  client c(s.address());
  CHECK(c.request(get("/things/a/b/json")).body == "GET /things/a/b/json [a/b] 1.51");
  CHECK(c.request(get("/v1.44/things/a%2Fb/json")).body == "GET /things/a/b/json [a/b] 1.44");
  CHECK(c.request(get("/v1.024/things/x/json")).body == "GET /things/x/json [x] 1.24");
  CHECK(c.request(get("/things/json")).body == "GET /things/json [] 1.51");
  CHECK(c.request("DELETE /things/json HTTP/1.1\r\nHost: d\r\n\r\n").body == "DELETE /things/json [json] 1.51");
  CHECK(c.request(get("http://docker/v1.51/hello")).body == "hello ");
  for (const auto* unknown : {"/", "/nosuch", "/V1.51/hello", "/vabc/hello", "/1.51/hello", "/v1.99/nosuch", "/hello/",
                              "/v1.51", "/v1.51/"}) {
    const auto a = c.request(get(unknown));
    CHECK(a.status == 404);
    CHECK(a.body == "{\"message\":\"page not found\"}\n");
    CHECK(a.field("Api-Version").empty());
  }
  CHECK(c.request("POST /hello HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n").status == 404);
  CHECK(c.request("FOO /hello HTTP/1.1\r\nHost: d\r\n\r\n").status == 404);
  for (const auto* version : {"1.10", "1.23", "1", "0.1", "1.5"}) {
    const auto a = c.request(get("/v" + std::string(version) + "/hello"));
    CHECK(a.status == 400);
    CHECK(a.body ==
          "client version " + std::string(version) +
              " is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\n");
    CHECK(a.field("X-Content-Type-Options") == "nosniff");
    CHECK(a.field("Docker-Experimental").empty());
  }
  for (const auto* version : {"1.52", "3.0", "1.51.1", "99999999999999999999"}) {
    const auto a = c.request(get("/v" + std::string(version) + "/hello"));
    CHECK(a.status == 400);
    CHECK(a.body == "{\"message\":\"client version " + std::string(version) +
                        " is too new. Maximum supported API version is 1.51\"}\n");
  }
  CHECK(c.request(get("/v1.51//hello?a=%20b")).field("Location") == "/v1.51/hello?a=%20b");
  CHECK(c.request(get("/things/%2e%2e/hello")).field("Location") == "/hello");
  CHECK(c.request(get("/things/../hello")).status == 301);
  const auto options = c.request("OPTIONS /v1.51/any HTTP/1.1\r\nHost: d\r\n\r\n");
  CHECK(options.status == 200);
  CHECK(options.field("Content-Length") == "0");
  CHECK(options.field("Content-Type").empty());
  CHECK(c.request(get("/hello?filters=%zz")).body == "{\"message\":\"invalid URL escape \\\"%zz\\\"\"}\n");
  CHECK(c.request(get("/hello?a=1;b=2")).body == "{\"message\":\"invalid semicolon separator in query\"}\n");
}

TEST_CASE("bodies: length, chunked, 100-continue, limits") {
  const test_server s;
  client c(s.address());
  CHECK(c.request(post("/echo", std::string(300'000, 'x'))).body.size() == 300'000);
  CHECK(c.request("POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: "
                  "chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n")
            .body == "abcde");
  c.send("POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  CHECK(c.receive().status == 100);
  c.send("xyz");
  CHECK(c.receive().body == "xyz");
  CHECK(c.request(post("/ignore", "unread")).status == 204);
  CHECK(c.request(get("/hello")).status == 200);
  c.send("POST /ignore HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  CHECK(c.receive().field("Connection") == "close");
  CHECK(c.rest().empty());
  client big(s.address());
  big.send("POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 99999999999\r\n\r\n");
  CHECK(big.receive().status == 400);
  client endless(s.address());
  endless.send("POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'y') + "\r\n";
  for (int i = 0; i < 20; ++i) endless.send(chunk);
  CHECK(endless.receive().status == 400);
  client cut(s.address());
  cut.send("POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 10\r\n\r\nabc");
  cut.half_close();
  CHECK(cut.receive().body == "{\"message\":\"unexpected EOF\"}\n");
}

TEST_CASE("malformed requests are answered 400 and end the connection") {
  const test_server s;
  using namespace std::string_literals;
  for (const auto& bytes : {
           "NONSENSE\r\n\r\n"s,
           "GET /hello HTTP/1.10\r\nHost: d\r\n\r\n"s,
           "GET /hello\r\nHost: d\r\n\r\n"s,
           "GET /hello http/1.1\r\nHost: d\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\r\nHost: d\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\nHost: d\r\nX: a\rb\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\nHost: d\r\nhost: d\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3, 3\r\n\r\nabc"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 9223372036854775808\r\n\r\nabc"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 18446744073709551615\r\n\r\nabc"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: +3\r\n\r\nabc"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"s,
           "GET /he llo HTTP/1.1\r\nHost: d\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\nHost: d\r\nBad\x01Name: x\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\nHost: d\r\nX: a\0b\r\n\r\n"s,
           "GET /\0 HTTP/1.1\r\nHost: d\r\n\r\n"s,
           "GET /hello HTTP/1.1\r\nHost: d\r\nContent-Length: x\r\n\r\n"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"s,
           "GET /%zz HTTP/1.1\r\nHost: d\r\n\r\n"s,
           "POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"s,
           "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(300, '\n') + "\r\n\r\n"s,
       }) {
    client c(s.address());
    const auto a = c.request(bytes);
    INFO(bytes);
    CHECK(a.status == 400);
  }
  client c(s.address());
  CHECK(c.request(get("/things/%00/json")).body == "GET /things/\0/json [\0] 1.51"s);
  CHECK(c.request(get("/hello?q=%ff%fe%00")).status == 200);
}

// What Go's server sends, to the byte, and nothing of what came behind is taken for a request.
TEST_CASE("what is no HTTP/1 of ours is refused in Go's words and ends the connection") {
  const test_server s;
  const auto refusal = [&](const std::string& bytes) {
    client c(s.address());
    c.send(bytes + get("/hello?q=smuggled"));
    return c.rest();
  };
  const auto words = [](std::string_view status, std::string_view body) {
    return "HTTP/1.1 " + std::string(status) +
           "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + std::string(body);
  };
  for (const auto* coding : {"identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "\"chunked\"",
                             "chunked;x=1", "", "xchunked", ",chunked", "chunked,", "identity, chunked",
                             "chunked\r\nTransfer-Encoding: chunked", "identity\r\nTransfer-Encoding: chunked"}) {
    INFO(coding);
    CHECK(refusal("POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: " + std::string(coding) +
                  "\r\n\r\n3\r\nabc\r\n0\r\n\r\n") == words("501 Not Implemented", "Unsupported transfer encoding"));
  }
  constexpr std::string_view version = "505 HTTP Version Not Supported: unsupported protocol version";
  for (const auto* other : {"HTTP/0.9", "HTTP/2.0", "HTTP/2.1", "HTTP/3.7", "HTTP/9.9"})
    CHECK(refusal("GET /hello " + std::string(other) + "\r\n\r\n") == words(version, version));
  CHECK(refusal("GET /hello HTTP/9.9\r\nHost: d\r\nbad\r\n\r\n") == words("400 Bad Request", "400 Bad Request"));
  constexpr std::string_view missing = "400 Bad Request: missing required Host header";
  CHECK(refusal("GET /hello HTTP/1.1\r\n\r\n") == words(missing, missing));
  constexpr std::string_view malformed = "400 Bad Request: malformed Host header";
  CHECK(refusal("GET /hello HTTP/1.0\r\nHost: a b\r\n\r\n") == words(malformed, malformed));
  CHECK(refusal("GET /hello HTTP/1.1\r\nHost: d\r\nHost: e\r\n\r\n") == words("400 Bad Request", "400 Bad Request"));
  const auto expectation = refusal("GET /hello HTTP/1.1\r\nHost: d\r\nExpect: more\r\n\r\n");
  CHECK(expectation.starts_with("HTTP/1.1 417 Expectation Failed\r\n"));
  CHECK(expectation.ends_with("Content-Length: 0\r\nConnection: close\r\n\r\n"));
  client tls(s.address());
  tls.send("\x16\x03\x01");
  CHECK(tls.receive().status == 400);
}

TEST_CASE("what Go's server takes is taken: bare line feeds, HTTP/1.2, one length twice") {
  const test_server s;
  client c(s.address());
  CHECK(c.request("GET /hello?q=1 HTTP/1.1\nHost: d\n\n").body == "hello 1");
  CHECK(c.request("GET /hello?q=2 HTTP/1.1\r\nHost: d\nX: a\n folded\r\n\n").body == "hello 2");
  CHECK(c.request("POST /echo HTTP/1.1\nHost: d\nContent-Length: 3\n\n\na\n").body == "\na\n");
  CHECK(c.request("GET /hello?q=3 HTTP/1.2\r\nHost: d\r\n\r\n").body == "hello 3");
  CHECK(c.request("POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc").body == "abc");
  CHECK(c.request("POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n").body ==
        "a");
  CHECK(c.request("GET /hello?q=4 HTTP/1.1\r\nHost:\r\n\r\n").body == "hello 4");
  c.send("GET /hello?q=5 HTTP/1.1\r");
  c.send("\nHost: d\r\n\r");
  c.send("\n");
  CHECK(c.receive().body == "hello 5");
  CHECK(c.request("POST /echo HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n").status ==
        400);
  client old(s.address());
  old.send("POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" +
           get("/hello?q=smuggled"));
  CHECK(old.rest().find("smuggled") == std::string::npos);
}

TEST_CASE("headers are bounded") {
  const test_server s;
  client c(s.address());
  CHECK(c.request(get("/hello?q=" + std::string(200'000, 'q'))).status == 200);
  CHECK(c.request(get("/hello", "X-Big: " + std::string(300'000, 'h') + "\r\n")).status == 431);
  client endless(s.address());
  endless.send("GET /hello HTTP/1.1\r\nHost: d\r\n");
  for (int i = 0; i < 300; ++i) endless.send("X-More: " + std::string(1000, 'h') + "\r\n");
  CHECK(endless.receive().status == 431);
}

TEST_CASE("slow clients are cut off, idle ones are not") {
  limits quick;
  quick.header_time = 2s;
  const test_server s(quick);
  client silent(s.address()), slow(s.address()), idle(s.address());
  CHECK(idle.request(get("/hello")).status == 200);
  slow.send("GET /hel");
  const auto began = std::chrono::steady_clock::now();
  CHECK(silent.rest().empty());
  CHECK(slow.rest().empty());
  CHECK(std::chrono::steady_clock::now() - began < 20s);
  CHECK(idle.request(get("/hello")).status == 200);
}

TEST_CASE("HTTP/1.0 and Connection: close") {
  const test_server s;
  client c(s.address());
  c.send("GET /hello HTTP/1.0\r\n\r\n");
  CHECK(c.rest().ends_with("hello "));
  client close(s.address());
  const auto a = close.request(get("/hello", "Connection: close\r\n"));
  CHECK(a.field("Connection") == "close");
  CHECK(close.rest().empty());
  client streamed(s.address());
  streamed.send("GET /download?kb=20 HTTP/1.0\r\n\r\n");
  const auto b = streamed.receive();
  CHECK_FALSE(b.chunked);
  CHECK(b.body.size() == 20'000);
}

TEST_CASE("a handler that throws is a 500, or a cut answer when it had begun") {
  const test_server s;
  client c(s.address());
  CHECK(c.request(get("/throw")).status == 500);
  CHECK(c.request(get("/hello")).status == 200);
  const auto late = c.request(get("/throw-late"));
  CHECK(late.status == 200);
  CHECK_FALSE(late.complete);
}

TEST_CASE("a client that goes away is noticed; what it sent ahead is kept") {
  const test_server s;
  auto& gone = test_server::seen().gone;
  const int before = gone;
  {
    client c(s.address());
    c.send(get("/wait?ms=60000"));
    CHECK(c.wait_for("chunked"));
  }
  CHECK(eventually([&] { return gone == before + 1; }));
  client half(s.address());
  half.send(get("/wait?ms=60000"));
  half.half_close();
  CHECK(eventually([&] { return gone == before + 2; }));
  client ahead(s.address());
  ahead.send(get("/wait?ms=200") + get("/hello?q=1"));
  std::this_thread::sleep_for(50ms);
  ahead.send(get("/hello?q=2"));
  CHECK(ahead.receive().body == "{\"StatusCode\":0}\n");
  CHECK(ahead.receive().body == "hello 1");
  CHECK(ahead.receive().body == "hello 2");
  CHECK(gone == before + 2);
}

TEST_CASE("a thousand connections at once") {
  const test_server s;
  std::vector<client> all;
  for (int i = 0; i < 1000; ++i) all.emplace_back(s.address());
  for (int round = 0; round < 2; ++round) {
    for (auto& c : all) c.send(get("/hello?q=x"));
    size_t good = 0;
    for (auto& c : all) good += c.receive().body == "hello x" ? 1 : 0;
    CHECK(good == 1000);
  }
  CHECK(s.running->connections() == 1000);
  all.clear();
  CHECK(eventually([&] { return s.running->connections() == 0; }));
}

TEST_CASE("connections beyond the limit wait") {
  limits few;
  few.max_connections = 2;
  const test_server s(few);
  auto one = std::make_unique<client>(s.address());
  client two(s.address());
  CHECK(one->request(get("/hello")).status == 200);
  CHECK(two.request(get("/hello")).status == 200);
  client three(s.address());
  three.send(get("/hello?q=3"));
  std::this_thread::sleep_for(100ms);
  CHECK(s.running->connections() == 2);
  one.reset();
  CHECK(three.receive().body == "hello 3");
}

TEST_CASE("stop ends idle and endless connections, finishes answers, removes the socket") {
  auto s = std::make_unique<test_server>();
  const auto path = s->address().substr(7);
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0660);
  client idle(s->address()), endless(s->address());
  CHECK(idle.request(get("/hello")).status == 200);
  endless.send(get("/wait?ms=60000"));
  CHECK(endless.wait_for("chunked"));
  const auto began = std::chrono::steady_clock::now();
  s->running->stop(60s);
  CHECK(std::chrono::steady_clock::now() - began < 30s);
  CHECK(idle.rest().empty());
  CHECK(::stat(path.c_str(), &info) != 0);
}

TEST_CASE("a stale socket file is replaced, a live one is not") {
  const test_server s;
  const router none({});
  const std::vector<listener> same{{.path = s.address().substr(7)}};
  const auto second = server::start(server_options{}, same, none, nullptr, nullptr);
  REQUIRE_FALSE(second);
  CHECK(second.error().code() == arca::errc::conflict);
  const auto open_to_all = server::start(server_options{}, {{.host = "0.0.0.0"}}, none, nullptr, nullptr);
  REQUIRE_FALSE(open_to_all);
  CHECK(open_to_all.error().message().find("without TLS") != std::string::npos);
  arca::settings config;
  config.hosts = {"tcp://127.0.0.1:2375", "unix:///run/x.sock", "tcp://[::1]:99"};
  const auto parsed = listeners_of(config);
  REQUIRE(parsed);
  CHECK(parsed->size() == 4);
  CHECK(parsed->at(3).host == "::1");
  config.hosts = {"fd://"};
  CHECK_FALSE(listeners_of(config));
}
