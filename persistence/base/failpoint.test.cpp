#include "persistence/base/failpoint.hpp"

#include <catch2/catch.hpp>

using namespace arca;

TEST_CASE("a failpoint is due once, at the passing that was asked for") {
  auto one = failpoint::plan::parse("commit:2");
  REQUIRE(one);
  CHECK_FALSE(one->due("commit"));
  CHECK_FALSE(one->due("before-commit"));
  CHECK(one->due("commit"));
  CHECK_FALSE(one->due("commit"));
  auto any = failpoint::plan::parse("any:3");
  REQUIRE(any);
  CHECK_FALSE(any->due("a"));
  CHECK_FALSE(any->due("b"));
  CHECK(any->due("c"));
}

TEST_CASE("a wish that is none is an error") {
  for (const char* wrong : {"", "commit", "commit:", "commit:0", "commit:x", "commit:1x", ":1", "commit:-1"})
    CHECK_FALSE(failpoint::plan::parse(wrong));
}
