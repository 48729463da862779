#include "persistence/base/text.hpp"

#include <catch2/catch.hpp>

#include "persistence/base/sha256.hpp"

using namespace arca;

TEST_CASE("times are written as Go's RFC3339Nano") {
  CHECK(rfc3339_nano(0) == "0001-01-01T00:00:00Z");
  CHECK(rfc3339_nano(1'000'000'000) == "1970-01-01T00:00:01Z");
  CHECK(rfc3339_nano(1'767'225'600'123'400'000) == "2026-01-01T00:00:00.1234Z");
  CHECK(rfc3339_nano(-500'000'000) == "1969-12-31T23:59:59.5Z");
}

TEST_CASE("RFC 3339 times are read back, with offsets and fractions") {
  int64_t t = 0;
  REQUIRE(parse_rfc3339("2026-01-01T00:00:00.1234Z", t));
  CHECK(t == 1'767'225'600'123'400'000);
  REQUIRE(parse_rfc3339("2026-01-01T01:00:00+01:00", t));
  CHECK(t == 1'767'225'600'000'000'000);
  for (const char* bad : {"", "2026", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z",
                          "2026-01-01T00:00:00Zx", "9999999-01-01T00:00:00Z"})
    CHECK_FALSE(parse_rfc3339(bad, t));
}

TEST_CASE("text is quoted as Go's %q") {
  CHECK(go_quote("a\"b\\c\n") == R"("a\"b\\c\n")");
  CHECK(go_quote(std::string_view("\0", 1)) == R"("\x00")");
}

TEST_CASE("digest of nothing is the known one") {
  CHECK(digest_of("") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
