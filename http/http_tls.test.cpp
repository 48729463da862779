// TLS and mutual TLS: answers, streams, half-close, and clients that must be refused.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <memory>

#include "http/test_client.hpp"
#include "http/test_server.hpp"

using namespace arca::http;
using namespace arca::http::test;
using namespace std::chrono_literals;

namespace {

template <auto Free>
struct freed {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed<EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, freed<X509_free>>;

struct identity {
  key_ptr key;
  certificate_ptr certificate;
};

// A certificate for `name`, signed by `by` (itself when null: a CA).
identity issue(const char* name, const identity* by) {
  identity made{key_ptr(EVP_EC_gen("P-256")), certificate_ptr(X509_new())};
  auto* x = made.certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), by == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(x), -60);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_set_pubkey(x, made.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name),
                             -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(by == nullptr ? x : by->certificate.get()));
  if (by == nullptr) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(x, by == nullptr ? made.key.get() : by->key.get(), EVP_sha256());
  return made;
}

struct files {
  files() : folder("/tmp/http-tls-" + std::to_string(::getpid())) { std::filesystem::create_directories(folder); }
  ~files() { std::filesystem::remove_all(folder); }
  std::string write(const char* name, const identity& i, bool key) const {
    const auto path = folder + "/" + name;
    BIO* out = BIO_new_file(path.c_str(), "w");
    if (key) {
      PEM_write_bio_PrivateKey(out, i.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    } else {
      PEM_write_bio_X509(out, i.certificate.get());
    }
    BIO_free(out);
    return path;
  }
  std::string folder;
};

class tls_client {
 public:
  tls_client(const std::string& address, const identity* who)
      : socket_(address), context_(SSL_CTX_new(TLS_client_method())) {
    if (who != nullptr) {
      SSL_CTX_use_certificate(context_.get(), who->certificate.get());
      SSL_CTX_use_PrivateKey(context_.get(), who->key.get());
    }
    const timeval patience{10, 0};
    ::setsockopt(socket_.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), socket_.fd());
    connected = SSL_connect(ssl_.get()) == 1;
  }
  bool send(const std::string& bytes) {
    return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) > 0;
  }
  std::string read_until(std::string_view text) {
    std::string all;
    std::array<char, 16384> data{};
    while (text.empty() || all.find(text) == std::string::npos) {
      const int n = SSL_read(ssl_.get(), data.data(), data.size());
      if (n <= 0) break;
      all.append(data.data(), static_cast<size_t>(n));
    }
    return all;
  }
  void finish_writing() { SSL_shutdown(ssl_.get()); }
  bool connected = false;

 private:
  client socket_;
  std::unique_ptr<SSL_CTX, freed<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, freed<SSL_free>> ssl_;
};

}  // namespace

TEST_CASE("TLS with client certificates") {
  const files where;
  const auto ca = issue("test ca", nullptr), server_identity = issue("localhost", &ca), friendly = issue("friend", &ca),
             stranger_ca = issue("other ca", nullptr), stranger = issue("stranger", &stranger_ca);
  server_options options;
  options.tls_certificate = where.write("cert.pem", server_identity, false);
  options.tls_key = where.write("key.pem", server_identity, true);
  options.tls_ca = where.write("ca.pem", ca, false);
  options.tls_verify = true;
  limits bounds;
  bounds.header_time = 3s;
  const test_server s(bounds, options, true);
  const auto address = s.address(1);

  SECTION("a known client is served, again and again") {
    tls_client c(address, &friendly);
    REQUIRE(c.connected);
    for (int i = 0; i < 3; ++i) {
      CHECK(c.send("GET /hello?q=tls HTTP/1.1\r\nHost: d\r\n\r\n"));
      CHECK(c.read_until("hello tls").ends_with("hello tls"));
    }
    CHECK(c.send("GET /download?kb=5000 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"));
    CHECK(c.read_until("").size() > 5'000'000);
  }
  SECTION("hijack with half-close") {
    tls_client c(address, &friendly);
    c.send("POST /shell HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly");
    CHECK(c.read_until("EARLY").find("101 UPGRADED") != std::string::npos);
    c.finish_writing();
    CHECK(c.read_until("") == "bye 5\n");
  }
  SECTION("others are not") {
    for (const identity* who : {static_cast<const identity*>(nullptr), &stranger}) {
      tls_client c(address, who);
      c.send("GET /hello HTTP/1.1\r\nHost: d\r\n\r\n");  // TLS 1.3 clients learn of the refusal when they read
      CHECK(c.read_until("").empty());
    }
    client plain(address);
    plain.send("GET /hello HTTP/1.1\r\nHost: d\r\n\r\n");
    CHECK(plain.rest().find("200 OK") == std::string::npos);
    const client silent(address);
    for (int i = 0; i < 3000 && s.running->connections() > 0; ++i) ::usleep(10'000);
    CHECK(s.running->connections() == 0);
  }
  SECTION("wrong files are errors that name them") {
    const router none({});
    auto wrong = options;
    wrong.tls_key = where.folder + "/nosuch.pem";
    const auto made = server::start(wrong, {{.host = "127.0.0.1", .tls = true}}, none, nullptr, nullptr);
    REQUIRE_FALSE(made);
    CHECK(made.error().message().find("nosuch.pem") != std::string::npos);
  }
}
