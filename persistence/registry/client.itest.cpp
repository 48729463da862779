// The client against a registry that lies (testing/lying_registry.py).
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#include <thread>

#include "persistence/base/sha256.hpp"
#include "persistence/registry/client.hpp"
#include "persistence/registry/http.hpp"
#include "persistence/registry/testing/lying_registry.hpp"

using namespace arca;
using namespace arca::registry;
using namespace std::chrono_literals;

namespace {
testing::lying_registry& server() {
  static testing::lying_registry s(ARCA_LYING_REGISTRY);
  return s;
}

client_options quick() {
  client_options o;
  o.certificate_roots.clear();
  o.stall_timeout = 20s;
  o.first_delay = 20ms;
  o.attempts = 4;
  return o;
}

credentials alice(const char* password = "secret") {
  credentials c;
  c.username = "alice";
  c.password = password;
  return c;
}

struct session {
  explicit session(const std::string& repo, credentials who = {}, client_options options = quick())
      : name(*reference::parse((repo.find('/') == std::string::npos ? server().host + '/' : "") + repo)),
        repository(options, name, std::move(who), stop) {}
  reference name;
  stop_signal stop;
  registry::repository repository;
  int retries = 0;

  // Everything that a pull does; "ok" or the error's text.
  std::string pull(const char* tag = "1") {
    auto top = repository.resolve(tag);
    if (!top) return pull_error(top.error(), *name.with_tag(tag)).message();
    auto text = repository.manifest(top->digest);
    if (!text) return pull_error(text.error(), *name.with_tag(tag)).message();
    auto m = parse_manifest(text->body, text->media_type);
    if (!m) return m.error().message();
    if (m->index) return "index";
    auto config = repository.blob_text(m->config);
    if (!config) return config.error().what.message();
    for (const auto& layer : m->layers) {
      sha256 hash;
      auto done = repository.blob(
          layer,
          [&](std::string_view bytes) -> result<void> {
            hash.update(bytes);
            return {};
          },
          [&](int) { ++retries; });
      if (!done) return done.error().what.message();
      if ("sha256:" + hash.hex() != layer.digest) return "wrong digest";
    }
    return "ok";
  }
};

std::string pull(const std::string& repo, credentials who = {}) {
  auto options = quick();
  if (repo.starts_with("stall")) options.stall_timeout = 700ms;
  return session(repo, std::move(who), options).pull();
}
bool has(const std::string& text, const std::string& part) {
  INFO(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

// What the registry was asked so far.
std::string seen() {
  stop_signal stop;
  http_pool pool("test", stop);
  http_request request;
  request.to = *parse_url("http://" + server().host + "/seen");
  auto answer = pool.send(request, {});
  REQUIRE(answer);
  auto body = (*answer)->read_all(1u << 20);
  REQUIRE(body);
  return *body;
}
}  // namespace

TEST_CASE("what is in order works") {
  CHECK(pull("good") == "ok");
  CHECK(pull("multi") == "index");
  CHECK(pull("no-head-digest") == "ok");
  CHECK(pull("redirect-other") == "ok");
  session s("paged");
  auto tags = s.repository.tags();
  REQUIRE(tags);
  CHECK(*tags == std::vector<std::string>{"1", "2", "3"});
}

TEST_CASE("lies are found out") {
  CHECK(pull("wrong-digest") == "wrong digest");
  CHECK(has(pull("wrong-length"), "wrong length of blob"));
  CHECK(has(pull("short"), "wrong length of blob"));
  CHECK(has(pull("short-chunked"), "wrong length of blob"));
  CHECK(has(pull("endless"), "more bytes than the manifest's"));
  CHECK(has(pull("endless-manifest"), "longer than 4194304 bytes"));
  CHECK(has(pull("digest-lies"), "manifest verification failed for digest"));
  CHECK(has(pull("wrong-config"), "blob verification failed for digest"));
  CHECK(has(pull("wrong-range"), "another range of blob"));
  CHECK(has(pull("ambiguous"), "ambiguous manifest"));
  CHECK(has(pull("twice"), "ambiguous manifest"));
  CHECK(has(pull("two-types"), "ambiguous manifest"));
}

TEST_CASE("pages and strange answers are named as what they are") {
  CHECK(has(pull("html"), "text/html"));
  CHECK(has(pull("html-as-json"), "not a JSON object"));
  CHECK(has(pull("html-404"),
            "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value"));
  CHECK(has(pull("schema1"), "Docker Image Format v1"));
  CHECK(has(pull("artifact"), "unsupported media type application/vnd.x"));
  CHECK(has(pull("plugin"), "(plugin) when fetching"));
  CHECK(pull("unknown") ==
        "repository " + server().host + "/unknown not found: name unknown: repository name not known to registry");
  session s("good");
  CHECK(s.pull("nosuch") ==
        "manifest for " + server().host + "/good:nosuch not found: manifest unknown: manifest unknown");
}

TEST_CASE("what breaks goes on where it broke") {
  CHECK(pull("busy") == "ok");
  CHECK(pull("flaky") == "ok");
  CHECK(pull("reset-range") == "ok");
  CHECK(has(seen(), "/v2/reset-range/blobs/"));
  CHECK(has(seen(), "bytes="));
  CHECK(pull("reset-norange") == "ok");
  CHECK(pull("cut") == "ok");
  CHECK(pull("stall-once") == "ok");
}

TEST_CASE("what stays broken ends in time") {
  const auto begin = std::chrono::steady_clock::now();
  CHECK(has(pull("down"), "received unexpected HTTP status: 503 Service Unavailable"));
  CHECK(has(pull("stall"), "i/o timeout"));
  CHECK(has(pull("reset-always"), "reset"));
  CHECK(std::chrono::steady_clock::now() - begin < 40s);
  CHECK(
      has(pull("127.0.0.1:1/x"), "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"));
}

TEST_CASE("redirects: not to near places, not without end, not from https to http") {
  CHECK(has(pull("redirect-metadata"), "refusing to connect to 169.254.169.254:80"));
  CHECK(has(pull("redirect-file"), "unsupported protocol scheme \"file\""));
  CHECK(has(pull("redirect-loop"), "stopped after 5 redirects"));
  CHECK(has(pull("127.0.0.1:" + server().tls_port + "/downgrade"), "refusing a redirect from https to http"));
}

TEST_CASE("credentials: asked for, used, and shown to nobody else") {
  CHECK(has(pull("basic"), "no basic auth credentials"));
  CHECK(pull("basic", alice()) == "ok");
  CHECK(pull("basic", alice("wrong")) == "unauthorized: authentication required");
  CHECK(pull("token") == "ok");
  CHECK(pull("token-private", alice()) == "ok");
  CHECK(pull("token-private") == "unauthorized: authentication required");
  CHECK(has(pull("token-private", alice("wrong")), "unauthorized: incorrect username or password"));
  CHECK(pull("token-denied").starts_with("pull access denied for " + server().host + "/token-denied"));
  CHECK(has(pull("token-elsewhere", alice()), "refusing to connect to 169.254.169.254:80"));
  credentials refresh;
  refresh.identity_token = "refresh";
  CHECK(pull("token-private", refresh) == "ok");
  credentials ready;
  ready.registry_token = "good-token-private";
  CHECK(pull("token-private", ready) == "ok");
  auto foreign = alice();
  foreign.server_address = "https://other.io";
  CHECK(has(pull("basic", foreign), "no basic auth credentials"));

  CHECK(pull("basic-redirect", alice()) == "ok");
  CHECK(has(seen(), "GET /elsewhere/x - -"));
}

TEST_CASE("TLS: trusted authorities, folders of them, and none") {
  const auto host = "127.0.0.1:" + server().tls_port;
  CHECK(pull(host + "/good") == "ok");  // loopback is insecure by default
  auto options = quick();
  const auto over_tls = [&](const std::string& h, const std::string& folder) {
    stop_signal stop;
    dial_options d;
    if (!folder.empty()) d.tls.folders = {folder};
    auto to = *parse_url("https://" + h + "/v2/");
    auto c = dial(to, d, stop);
    return c ? std::string("ok") : c.error().what.message();
  };
  CHECK(over_tls(host, server().trust) == "ok");
  CHECK(over_tls(host, "") == "tls: failed to verify certificate: x509: certificate signed by unknown authority");
  CHECK(has(over_tls("localhost:" + server().tls_port, server().trust), "certificate is not valid for localhost"));
  CHECK(over_tls(server().host, "") == "http: server gave HTTP response to HTTPS client");
}

TEST_CASE("mirrors come first and need not work") {
  auto options = quick();
  options.registries[server().host].mirrors = {"http://127.0.0.1:1", "http://127.0.0.1:" + server().other_port};
  session s("good", alice(), options);
  CHECK(s.pull() == "ok");
  options.registries[server().host].mirrors = {"http://127.0.0.1:" + server().other_port + "/nothing/here"};
  session t("good", {}, options);
  CHECK(t.pull() == "ok");
}

TEST_CASE("waiting work can be cancelled") {
  for (const char* repo : {"stall", "good"}) {
    auto options = quick();
    options.stall_timeout = 30s;
    session s(repo, {}, options);
    const auto begin = std::chrono::steady_clock::now();
    std::thread later([&] {
      std::this_thread::sleep_for(300ms);
      s.stop.request();
    });
    const auto text = s.pull();
    later.join();
    CHECK(std::chrono::steady_clock::now() - begin < 5s);
    if (repo == std::string("stall")) CHECK(text == "context canceled");
  }
}
