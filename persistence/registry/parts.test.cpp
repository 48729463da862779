// URLs, challenges, credentials, manifests and error answers: the parts of the client that need no network.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <nlohmann/json.hpp>

#include "persistence/registry/answer.hpp"
#include "persistence/registry/auth.hpp"
#include "persistence/registry/endpoint.hpp"
#include "persistence/registry/manifest.hpp"
#include "persistence/registry/url.hpp"

using namespace arca;
using namespace arca::registry;
using nlohmann::json;

namespace {
reach reach_of_text(const char* text) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (::inet_pton(AF_INET, text, &v4.sin_addr) == 1) return reach_of(reinterpret_cast<sockaddr*>(&v4));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  REQUIRE(::inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
  return reach_of(reinterpret_cast<sockaddr*>(&v6));
}

const std::string some_digest = "sha256:" + std::string(64, 'a');
constexpr const char* docker_type = "application/vnd.docker.distribution.manifest.v2+json";
constexpr const char* index_type = "application/vnd.oci.image.index.v1+json";

json image_manifest() {
  return {{"schemaVersion", 2},
          {"mediaType", docker_type},
          {"config",
           {{"mediaType", "application/vnd.docker.container.image.v1+json"}, {"digest", some_digest}, {"size", 2}}},
          {"layers",
           {{{"mediaType", "application/vnd.oci.image.layer.v1.tar+zstd"}, {"digest", some_digest}, {"size", 3}}}}};
}
std::string refused(const json& document, const char* type = docker_type) {
  auto m = parse_manifest(document.dump(), type);
  return m ? "accepted" : m.error().message();
}
}  // namespace

TEST_CASE("URLs are read and resolved") {
  auto u = parse_url("https://H.io:5000/a/b?c=d#e");
  REQUIRE(u);
  CHECK(u->string() == "https://H.io:5000/a/b?c=d");
  CHECK(parse_url("http://[::1]/x")->authority() == "[::1]");
  CHECK(parse_url("http://[::1]:80/x")->port == "80");
  CHECK(parse_url("https://h")->target == "/");
  for (const char* bad :
       {"", "h", "ftp://x/y", "file:///etc/passwd", "http://", "http://u:p@h/", "http://h:0/", "http://h:99999/",
        "http://h:x/", "http://h /", "http://h/a b", "http://h/\r\nX: y", "http://[::1", "http://a:b:c/"})
    CHECK_FALSE(parse_url(bad));
  CHECK(resolve_url(*u, "/x")->string() == "https://H.io:5000/x");
  CHECK(resolve_url(*u, "x?y")->string() == "https://H.io:5000/a/x?y");
  CHECK(resolve_url(*u, "//other/x")->string() == "https://other/x");
  CHECK(resolve_url(*u, "http://other/x?u=http://y")->string() == "http://other/x?u=http://y");
  CHECK_FALSE(resolve_url(*u, "javascript:alert(1)"));
  CHECK_FALSE(resolve_url(*u, "file:///etc/passwd"));
  CHECK(u->same_origin(*parse_url("https://h.io:5000/z")));
  CHECK_FALSE(u->same_origin(*parse_url("http://h.io:5000/z")));
  CHECK(percent_encode("a b/c:~") == "a%20b%2Fc%3A~");
}

TEST_CASE("addresses are told near from far") {
  CHECK(reach_of_text("8.8.8.8") == reach::global);
  CHECK(reach_of_text("127.9.9.9") == reach::loopback);
  CHECK(reach_of_text("10.0.0.1") == reach::private_network);
  CHECK(reach_of_text("172.31.0.1") == reach::private_network);
  CHECK(reach_of_text("172.32.0.1") == reach::global);
  CHECK(reach_of_text("192.168.1.1") == reach::private_network);
  CHECK(reach_of_text("100.64.0.1") == reach::private_network);
  CHECK(reach_of_text("169.254.169.254") == reach::link_local);
  CHECK(reach_of_text("0.0.0.0") == reach::none);
  CHECK(reach_of_text("255.255.255.255") == reach::none);
  CHECK(reach_of_text("::1") == reach::loopback);
  CHECK(reach_of_text("::") == reach::none);
  CHECK(reach_of_text("fe80::1") == reach::link_local);
  CHECK(reach_of_text("fd00::1") == reach::private_network);
  CHECK(reach_of_text("2001:db8::1") == reach::global);
  CHECK(reach_of_text("::ffff:169.254.169.254") == reach::link_local);
  CHECK(reach_of_text("64:ff9b::7f00:1") == reach::loopback);
  CHECK(reach_of_text("2002:7f00:1::") == reach::loopback);
}

TEST_CASE("challenges are read") {
  const auto c = parse_challenges({"Bearer realm=\"https://auth.io/token\",service=\"r.io\", scope=\"a:b,c\"",
                                   "Basic realm=\"a \\\"b\\\"\", Negotiate", "", ",,"});
  REQUIRE(c.size() == 3);
  CHECK(c[0].scheme == "bearer");
  CHECK(c[0].parameters.at("realm") == "https://auth.io/token");
  CHECK(c[0].parameters.at("scope") == "a:b,c");
  CHECK(c[1].scheme == "basic");
  CHECK(c[1].parameters.at("realm") == "a \"b\"");
  CHECK(c[2].scheme == "negotiate");
  CHECK(parse_challenges({"Bearer realm=\"open"}).at(0).parameters.at("realm") == "open");
}

TEST_CASE("credentials are read and kept to their host") {
  auto c =
      parse_credentials(R"({"username":"alice","password":"secret","serveraddress":"https://index.docker.io/v1/"})");
  CHECK(basic_header(c) == "Basic YWxpY2U6c2VjcmV0");
  CHECK(meant_for(c, "docker.io"));
  CHECK_FALSE(meant_for(c, "evil.io"));
  c.server_address = "r.io:5000";
  CHECK(meant_for(c, "r.io:5000"));
  CHECK_FALSE(meant_for(c, "r.io"));
  c.server_address.clear();
  CHECK(meant_for(c, "anything"));
  CHECK(parse_credentials(R"({"auth":"YWxpY2U6c2VjcmV0"})").empty());  // Docker Engine has no use for it either
  CHECK(parse_credentials("").empty());
  CHECK(parse_credentials("[1]").empty());
  CHECK(parse_credentials(R"({"username":7})").empty());
  CHECK(parse_credentials(R"({"registrytoken":"a\r\nX: y"})").empty());
}

TEST_CASE("manifests are read, ambiguous ones refused") {
  auto m = parse_manifest(image_manifest().dump(), docker_type);
  REQUIRE(m);
  CHECK_FALSE(m->index);
  CHECK(m->layers.at(0).size == 3);
  auto oci = image_manifest();
  oci.erase("mediaType");
  CHECK(parse_manifest(oci.dump(), "application/vnd.oci.image.manifest.v1+json"));
  CHECK(parse_manifest(oci.dump(), "application/json"));

  auto both = image_manifest();
  both["manifests"] = json::array();
  CHECK(refused(both) == "ambiguous manifest: it has the parts of an image and of an index");
  CHECK(refused({{"schemaVersion", 2}, {"mediaType", index_type}, {"layers", json::array()}}, index_type) ==
        "ambiguous manifest: it has the parts of an image and of an index");
  CHECK(refused(image_manifest(), index_type) ==
        std::string("ambiguous manifest: served as ") + index_type + ", but it says " + docker_type);
  CHECK(parse_manifest(R"({"schemaVersion":2,"config":{},"config":{}})", docker_type).error().message() ==
        "ambiguous manifest: a key is given twice");
  CHECK(refused(image_manifest(), "text/html; charset=utf-8").find("text/html") != std::string::npos);
  CHECK(refused({{"schemaVersion", 1}}).starts_with("Docker Image Format v1"));
  CHECK(refused(json::object()) == "unsupported manifest format");
  CHECK_FALSE(parse_manifest("<html>", docker_type));
  CHECK_FALSE(parse_manifest("[]", docker_type));
  CHECK_FALSE(parse_manifest(std::string(1000000, '['), docker_type));
  for (const auto& patch : std::vector<json>{{{"config", {{"digest", "sha256:abc"}}}},
                                             {{"config", {{"size", -1}}}},
                                             {{"config", {{"size", 1.5}}}},
                                             {{"config", nullptr}},
                                             {{"config", {{"mediaType", "application/vnd.oci.images_are_fun"}}}},
                                             {{"layers", "x"}},
                                             {{"layers", {1}}},
                                             {{"config", {{"digest", "sha512:" + std::string(128, 'a')}}}}}) {
    auto document = image_manifest();
    document.merge_patch(patch);
    INFO(document.dump());
    CHECK_FALSE(parse_manifest(document.dump(), docker_type));
  }
  auto plugin = image_manifest();
  plugin["config"]["mediaType"] = "application/vnd.docker.plugin.v1+json";
  CHECK(refused(plugin) == "Encountered remote \"application/vnd.docker.plugin.v1+json\"(plugin) when fetching");
  auto many = image_manifest();
  for (size_t i = 0; i < max_layers; ++i) many["layers"].push_back(many["layers"][0]);
  CHECK(refused(many) == "the image has more than 500 layers");
}

TEST_CASE("an index is searched for a platform") {
  manifest index;
  index.index = true;
  const auto add = [&](const char* os, const char* arch, const char* variant, char digit) {
    descriptor d;
    d.digest = "sha256:" + std::string(64, digit);
    d.platform = {os, arch, variant};
    index.manifests.push_back(d);
  };
  add("unknown", "unknown", "", '0');
  add("linux", "amd64", "", '1');
  add("linux", "arm", "v6", '2');
  add("linux", "arm", "v7", '3');
  add("linux", "arm64", "v8", '4');
  add("windows", "amd64", "", '5');
  const auto chosen = [&](platform_spec p) {
    auto d = select_platform(index, p);
    return d ? std::string(1, d->digest[7]) : d.error().message();
  };
  CHECK(chosen({"linux", "amd64", ""}) == "1");
  CHECK(chosen({"linux", "x86_64", ""}) == "1");
  CHECK(chosen({"linux", "amd64", "v3"}) == "1");
  CHECK(chosen({"linux", "arm64", ""}) == "4");
  CHECK(chosen({"linux", "aarch64", "v8"}) == "4");
  CHECK(chosen({"linux", "arm", "v6"}) == "2");
  CHECK(chosen({"linux", "arm", "v7"}) == "3");
  CHECK(chosen({"linux", "arm", "v8"}) == "3");
  CHECK(chosen({"linux", "arm", ""}) == "3");
  CHECK(chosen({"linux", "arm", "v5"}) == "no matching manifest for linux/arm/v5 in the manifest list entries");
  CHECK(chosen({"linux", "s390x", ""}) == "no matching manifest for linux/s390x in the manifest list entries");
}

TEST_CASE("error codes of the protocol become Docker's words") {
  const auto ref = *reference::parse("gt/app:9");
  const auto denied = pull_error(protocol_failure("DENIED", ""), ref);
  CHECK(denied.code() == errc::not_found);
  CHECK(denied.message() ==
        "pull access denied for gt/app, repository does not exist or may require 'docker login': denied: "
        "requested access to the resource is denied");
  CHECK(pull_error(protocol_failure("MANIFEST_UNKNOWN", "manifest unknown"), ref).message() ==
        "manifest for gt/app:9 not found: manifest unknown: manifest unknown");
  CHECK(pull_error(protocol_failure("NAME_UNKNOWN", "x"), ref).message() ==
        "repository gt/app not found: name unknown: x");
  CHECK(pull_error(protocol_failure("UNAUTHORIZED", "authentication required"), ref).code() == errc::unauthorized);
  CHECK(protocol_failure("WHATEVER", "x").what.message() == "unknown: x");
  CHECK(protocol_failure("TOOMANYREQUESTS", "x").what.message() == "toomanyrequests: x");
}

TEST_CASE("endpoints: mirrors, then the registry, http only where it is allowed") {
  client_options options;
  options.registries["docker.io"].mirrors = {"http://127.0.0.1:5000", "m.io/prefix"};
  options.registries["plain.io"].insecure = true;
  const auto list = [&](const char* text, credentials who = {}) {
    std::string out;
    auto made = endpoints_of(options, *reference::parse(text), who);
    if (!made) return made.error().message();
    for (const auto& e : *made) out += e.base.string() + (e.tls.verify ? " " : "! ") + (e.who.empty() ? "" : "creds ");
    return out;
  };
  credentials who;
  who.username = "alice";
  CHECK(list("busybox", who) == "http://127.0.0.1:5000/! https://m.io/prefix/ https://registry-1.docker.io/ creds ");
  CHECK(list("quay.io/x") == "https://quay.io/ ");
  CHECK(list("plain.io/x") == "https://plain.io/! http://plain.io/! ");
  CHECK(list("localhost:7/x") == "https://localhost:7/! http://localhost:7/! ");
  CHECK(list("127.3.4.5:7/x") == "https://127.3.4.5:7/! http://127.3.4.5:7/! ");
  who.server_address = "other.io";
  CHECK(list("quay.io/x", who) == "https://quay.io/ ");
  CHECK(list("a_b.c/x") == "invalid reference format");
}
