#include "actors/volume/volume_record.hpp"

#include <catch2/catch.hpp>

#include "actors/volume/volume_filters.hpp"

using namespace arca;

TEST_CASE("volume names (transcript volumes)") {
  for (const char* good : {"v1", "gt-v1", "a.b_c-d", "0x", "AB"}) CHECK(check_volume_name(good));
  for (const char* small : {"", " ", "x", "-"})
    CHECK(check_volume_name(small).error().message() ==
          "volume name is too short, names should be at least two alphanumeric characters");
  CHECK(
      check_volume_name("a/b").error().message() ==
      "\"a/b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If "
      "you intended to pass a host directory, use absolute path");
  for (const char* bad : {"..", ".x", "-x", "_x", "a b", "a\n", "a/../b", "ä1", "bad!name"})
    CHECK_FALSE(check_volume_name(bad));
  CHECK_FALSE(check_volume_name(std::string("a\0b", 3)));
}

TEST_CASE("driver options (transcript volumes)") {
  CHECK(check_volume_options({}));
  const auto refusal = [](const string_map& o) { return check_volume_options(o).error(); };
  CHECK(refusal({{"foo", "bar"}}).message() == "invalid option: \"foo\"");
  CHECK(refusal({{"type", "nfs"}}).message() == "missing required option: \"device\"");
  CHECK(refusal({{"device", "/x"}}).message() == "missing required option: \"type\"");
  CHECK(refusal({{"type", "tmpfs"}, {"device", "tmpfs"}}).code() == errc::unsupported);
  CHECK(refusal({{"size", "1m"}}).code() == errc::unsupported);
}

TEST_CASE("rows and resources of volumes") {
  volume_record v;
  v.name = "gt-v1";
  v.created = 1'763'790'954'999'999'999;
  CHECK(volume_json(v, "/d/volumes/gt-v1/_data") ==
        R"({"CreatedAt":"2025-11-22T05:55:54Z","Driver":"local","Labels":null,"Mountpoint":"/d/volumes/gt-v1/_data",)"
        R"("Name":"gt-v1","Options":null,"Scope":"local"})");
  v.labels = string_map{{"a", "1"}};
  v.options = string_map{};
  v.users = {{"c1", true}, {"c2", false}};
  CHECK(volume_json(v, "/x", volume_usage{10}) ==
        R"({"CreatedAt":"2025-11-22T05:55:54Z","Driver":"local","Labels":{"a":"1"},"Mountpoint":"/x","Name":"gt-v1",)"
        R"("Options":{},"Scope":"local","UsageData":{"RefCount":2,"Size":10}})");
  const auto again = volume_from_document(to_document(v));
  REQUIRE(again);
  CHECK(to_document(*again) == to_document(v));
  for (const char* bad : {"", "[]", "{", "{}", R"({"name":"../x"})", R"({"name":5})"})
    CHECK_FALSE(volume_from_document(bad));
}

TEST_CASE("filters of volumes (transcript volumes)") {
  volume_record v;
  v.name = "gt-v1";
  v.labels = string_map{{"a", "1"}};
  v.users = {{"c1", false}};
  const auto listed = [&](const char* text) { return volume_filters::for_list(text)->match(v); };
  for (const char* yes : {"", R"({"name":["gt-v"]})", R"({"label":["a"]})", R"({"label":{"a=1":true}})",
                          R"({"driver":["local"]})", R"({"dangling":["false"]})"})
    CHECK(listed(yes));
  for (const char* no :
       {R"({"name":["^v"]})", R"({"label":["a=2"]})", R"({"driver":["nosuch"]})", R"({"dangling":["1"]})"})
    CHECK_FALSE(listed(no));
  CHECK(volume_filters::for_list("x").error().message() == "error reading volume filters: invalid filter");
  CHECK(volume_filters::for_list(R"({"foo":["x"]})").error().message() == "invalid filter 'foo'");
  CHECK(volume_filters::for_list(R"({"dangling":["maybe"]})").error().message() == "invalid filter 'dangling=[maybe]'");

  const auto pruned = [&](const char* text) { return volume_filters::for_prune(text)->match(v); };
  CHECK_FALSE(pruned(R"({"all":["1"]})"));  // in use
  v.users.clear();
  CHECK_FALSE(pruned(""));
  CHECK(pruned(R"({"all":["true"]})"));
  CHECK_FALSE(pruned(R"({"all":["true"],"label":["keep"]})"));
  v.labels->emplace(anonymous_label, "");
  CHECK(pruned(""));
  CHECK_FALSE(pruned(R"({"label!":["a=1"]})"));
  CHECK(volume_filters::for_prune(R"({"foo":["x"]})").error().message() == "invalid filter 'foo'");
  CHECK(volume_filters::for_prune(R"({"all":["x"]})").error().message() ==
        "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax");
}
