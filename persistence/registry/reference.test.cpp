#include "persistence/registry/reference.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using arca::registry::reference;

namespace {
const std::string hex64 = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";

std::string error_of(const std::string& text) {
  auto r = reference::parse(text);
  if (r) return "accepted as " + r->string();
  CHECK(r.error().code() == arca::errc::invalid_argument);
  return r.error().message();
}
}  // namespace

TEST_CASE("names are normalised and shown as people write them") {
  struct row {
    std::string text, domain, path, tag, digest, familiar;
  };
  const std::string digest = "sha256:" + hex64;
  const std::vector<row> table = {
      {"busybox", "docker.io", "library/busybox", "", "", "busybox"},
      {"busybox:1.35", "docker.io", "library/busybox", "1.35", "", "busybox:1.35"},
      {"library/busybox", "docker.io", "library/busybox", "", "", "busybox"},
      {"docker.io/busybox", "docker.io", "library/busybox", "", "", "busybox"},
      {"docker.io/library/busybox", "docker.io", "library/busybox", "", "", "busybox"},
      {"index.docker.io/busybox", "docker.io", "library/busybox", "", "", "busybox"},
      {"index.docker.io/a/b", "docker.io", "a/b", "", "", "a/b"},
      {"library/foo/bar", "docker.io", "library/foo/bar", "", "", "library/foo/bar"},
      {"a/b:c", "docker.io", "a/b", "c", "", "a/b:c"},
      {"store/foo/bar", "docker.io", "store/foo/bar", "", "", "store/foo/bar"},
      {"busybox@" + digest, "docker.io", "library/busybox", "", digest, "busybox@" + digest},
      {"busybox:1@" + digest, "docker.io", "library/busybox", "1", digest, "busybox:1@" + digest},
      {"localhost/x", "localhost", "x", "", "", "localhost/x"},
      {"localhost:5000/x", "localhost:5000", "x", "", "", "localhost:5000/x"},
      {"localhost", "docker.io", "library/localhost", "", "", "localhost"},
      {"localhost:5000", "docker.io", "library/localhost", "5000", "", "localhost:5000"},
      {"127.0.0.1:5000/gt/tiny:2", "127.0.0.1:5000", "gt/tiny", "2", "", "127.0.0.1:5000/gt/tiny:2"},
      {"192.168.0.1", "docker.io", "library/192.168.0.1", "", "", "192.168.0.1"},
      {"192.168.0.1:80", "docker.io", "library/192.168.0.1", "80", "", "192.168.0.1:80"},
      {"[fc00::1]:5000/docker", "[fc00::1]:5000", "docker", "", "", "[fc00::1]:5000/docker"},
      {"[fc00::1]/docker", "[fc00::1]", "docker", "", "", "[fc00::1]/docker"},
      {"test_com/foo", "docker.io", "test_com/foo", "", "", "test_com/foo"},
      {"test-com:8080/foo", "test-com:8080", "foo", "", "", "test-com:8080/foo"},
      {"xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo", "", "", "xn--n3h.com:18080/foo"},
      {"Foo/bar", "Foo", "bar", "", "", "Foo/bar"},
      {"UPPER/x:1", "UPPER", "x", "1", "", "UPPER/x:1"},
      {"foo_bar.com/x", "", "foo_bar.com/x", "", "", "foo_bar.com/x"},
      {"docker---rules/docker", "docker.io", "docker---rules/docker", "", "", "docker---rules/docker"},
      {"dock__er/docker", "docker.io", "dock__er/docker", "", "", "dock__er/docker"},
      {"a.b/c.d-e_f", "a.b", "c.d-e_f", "", "", "a.b/c.d-e_f"},
      {"x:" + std::string(128, 'a'), "docker.io", "library/x", std::string(128, 'a'), "", "x:" + std::string(128, 'a')},
      {"x:_T.a-g", "docker.io", "library/x", "_T.a-g", "", "x:_T.a-g"},
      {"x@sha512:" + std::string(128, 'f'), "docker.io", "library/x", "", "sha512:" + std::string(128, 'f'),
       "x@sha512:" + std::string(128, 'f')},
      {"docker.io/" + hex64, "docker.io", "library/" + hex64, "", "", hex64},
      {"sha256:abcdef", "docker.io", "library/sha256", "abcdef", "", "sha256:abcdef"},
      {"h.io/" + std::string(255, 'p'), "h.io", std::string(255, 'p'), "", "", "h.io/" + std::string(255, 'p')},
  };
  for (const auto& r : table) {
    INFO(r.text);
    auto ref = reference::parse(r.text);
    REQUIRE(ref);
    CHECK(ref->domain() == r.domain);
    CHECK(ref->path() == r.path);
    CHECK(ref->tag() == r.tag);
    CHECK(ref->digest() == r.digest);
    CHECK(ref->familiar() == r.familiar);
    if (r.domain.empty()) continue;
    auto again = reference::parse(ref->string());
    REQUIRE(again);
    CHECK(*again == *ref);
  }
}

TEST_CASE("what is no name is refused in Docker's words") {
  const std::string format = "invalid reference format";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", format},
      {":", format},
      {"a:b:c", format},
      {"bad image name", format},
      {"UPPER", format + ": repository name (library/UPPER) must be lowercase"},
      {"UPPER/Case", format + ": repository name (Case) must be lowercase"},
      {"a/B:c", format + ": repository name (a/B) must be lowercase"},
      {"docker.io/docker/Docker", format + ": repository name (docker/Docker) must be lowercase"},
      {"Foo_Bar/x", "repository name must be lowercase"},
      {"https://github.com/docker/docker", format},
      {"-docker", format},
      {"docker-/docker", format},
      {"docker/", format},
      {"/docker", format},
      {"docker///docker", format},
      {"____/____", format},
      {"_docker/_docker", format},
      {"dock..er/docker", format},
      {"dock_.er/docker", format},
      {"dock-.er/docker", format},
      {"a___b/c", format},
      {"-docker.io/docker/docker", format},
      {"[fc00::1]", format},
      {"[fc00::1]:5000", format},
      {"fc00::1:5000/debian", format},
      {"[fe80::1%eth0]:5000/debian", format},
      {"[2001:db8:3:4::192.0.2.33]:5000/debian", format},
      {"host:/x", format},
      {"host:80a/x", format},
      {"x:", format},
      {"x:.tag", format},
      {"x:-tag", format},
      {"x:t@g", format},
      {"x:" + std::string(129, 'a'), format},
      {"x@sha256:abc", format},
      {"x@sha256:" + std::string(63, 'a'), "invalid checksum digest length"},
      {"x@sha256:" + std::string(64, 'A'), "invalid checksum digest format"},
      {"x@md5:" + std::string(32, 'a'), "unsupported digest algorithm"},
      {"x@", format},
      {"x@@" + hex64, format},
      {"a\nb", format},
      {std::string("a\0b", 3), format},
      {"caf\xc3\xa9", format},
      {hex64, "invalid repository name (" + hex64 + "), cannot specify 64-byte hexadecimal strings"},
      {"h.io/" + std::string(256, 'p'), "repository name must not be more than 255 characters"},
  };
  for (const auto& [text, message] : table) {
    INFO(text);
    CHECK(error_of(text) == message);
  }
}

TEST_CASE("tags and digests are put on and taken off") {
  auto ref = reference::parse("a/b");
  REQUIRE(ref);
  CHECK(ref->name_only());
  CHECK(ref->with_latest().familiar() == "a/b:latest");
  auto tagged = ref->with_tag("1");
  REQUIRE(tagged);
  CHECK(tagged->with_latest().familiar() == "a/b:1");
  CHECK(tagged->trimmed() == *ref);
  CHECK(ref->with_tag("bad tag").error().message() == "invalid tag format");
  CHECK(ref->with_tag("").error().message() == "invalid tag format");
  auto both = tagged->with_digest("sha256:" + hex64);
  REQUIRE(both);
  CHECK(both->favor_digest().familiar() == "a/b@sha256:" + hex64);
  CHECK_FALSE(ref->with_digest("sha256:x"));
}

TEST_CASE("digests are checked as go-digest does") {
  using arca::registry::parse_digest;
  CHECK(parse_digest("sha256:" + hex64));
  CHECK(parse_digest("").error().message() == "invalid checksum digest format");
  CHECK(parse_digest("sha256:").error().message() == "invalid checksum digest format");
  CHECK(parse_digest(":abc").error().message() == "invalid checksum digest format");
  CHECK(parse_digest("sha256:abc").error().message() == "invalid checksum digest length");
  CHECK(parse_digest("x y:" + hex64).error().message() == "invalid checksum digest format");
  CHECK(parse_digest("foo:" + hex64).error().message() == "unsupported digest algorithm");
  CHECK(arca::registry::is_identifier(hex64));
  CHECK_FALSE(arca::registry::is_identifier(hex64 + "0"));
}
