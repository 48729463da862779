// Query strings and numbers with Go's texts.
#include "http/query.hpp"

#include <catch2/catch.hpp>

#include "http/router.hpp"

using namespace arca::http;

TEST_CASE("queries are read as Go reads them") {
  const auto q = query_values::parse("a=1&b=%41+%2B&a=2&empty&=x&&c=a=b");
  REQUIRE(q);
  CHECK(q->get("a") == "1");
  CHECK(q->all("a") == std::vector<std::string>{"1", "2"});
  CHECK(q->get("b") == "A +");
  CHECK(q->has("empty"));
  CHECK(q->get("c") == "a=b");
  CHECK(q->get("nosuch").empty());
  CHECK(query_values::parse("a=%4").error().message() == "invalid URL escape \"%4\"");
  CHECK(query_values::parse("%zz=1").error().message() == "invalid URL escape \"%zz\"");
  CHECK(query_values::parse("a;b").error().message() == "invalid semicolon separator in query");
}

TEST_CASE("flags: everything but a few words is true") {
  for (const auto* no : {"", "0", "no", "NO", "false", "False", "none", "%20false%20"})
    CHECK_FALSE(query_values::parse("f=" + std::string(no))->flag("f"));
  for (const auto* yes : {"1", "true", "yes", "maybe", "2", "f"})
    CHECK(query_values::parse("f=" + std::string(yes))->flag("f"));
  CHECK(query_values::parse("")->flag_or("quiet", true));
  CHECK_FALSE(query_values::parse("quiet=0")->flag_or("quiet", true));
}

TEST_CASE("numbers fail with the words of strconv") {
  CHECK(*go_atoi("-12") == -12);
  CHECK(*go_atoi("+7") == 7);
  for (const auto* bad : {"", "x", "1x", " 1", "+-1", "1.5", "--1"})
    CHECK(go_atoi(bad).error().message() == "strconv.Atoi: parsing \"" + std::string(bad) + "\": invalid syntax");
  CHECK(go_atoi("99999999999999999999").error().message() ==
        "strconv.Atoi: parsing \"99999999999999999999\": value out of range");
  CHECK(*parse_timestamp("") == 0);
  CHECK(*parse_timestamp("12") == 12'000'000'000);
  CHECK(*parse_timestamp("12.5") == 12'500'000'000);
  CHECK(*parse_timestamp("1136073600.000000001") == 1136073600'000'000'001);
  CHECK(*parse_timestamp("-1") == -1'000'000'000);
  CHECK(*parse_timestamp("9223372036854775807") == 9223372036854775807);
  CHECK(parse_timestamp("2020-01-01T00:00:00Z").error().message() ==
        "strconv.ParseInt: parsing \"2020-01-01T00:00:00Z\": invalid syntax");
  CHECK(*parse_size("height", "40") == 40);
  CHECK(parse_size("height", "").error().message() == "invalid resize height \"\": invalid syntax");
  CHECK(parse_size("height", "-1").error().message() == "invalid resize height \"-1\": value out of range");
  CHECK(parse_size("width", "4294967296").error().message() ==
        "invalid resize width \"4294967296\": value out of range");
}

TEST_CASE("paths are cleaned as gorilla/mux does") {
  CHECK(clean_path("/a//b") == "/a/b");
  CHECK(clean_path("/a/../../b/") == "/b/");
  CHECK(clean_path("/./a/.") == "/a");
  CHECK(clean_path("/") == "/");
  CHECK(clean_path("/..") == "/");
  CHECK(clean_path("/a/b/json") == "/a/b/json");
  CHECK(version_parts("1.051") == std::vector<int>{1, 51});
}
