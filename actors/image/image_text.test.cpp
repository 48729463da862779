// Texts: progress bars, patterns, Dockerfile changes, platforms.
#include <catch2/catch.hpp>

#include "actors/image/image_changes.hpp"
#include "actors/image/image_views.hpp"
#include "actors/image/path_match.hpp"
#include "actors/image/progress.hpp"

using namespace arca;
using nlohmann::json;

namespace {
std::string text_of(byte_channel& channel) {
  std::string out;
  for (auto pieces = channel.read_blocking(); !pieces.empty(); pieces = channel.read_blocking())
    for (const auto& p : pieces) out += *p;
  return out;
}
std::string apply(std::vector<std::string> changes, json config = json::object()) {
  auto done = apply_changes(config, changes);
  return done ? config.dump() : done.error().message();
}
}  // namespace

TEST_CASE("sizes and bars look like Docker's") {
  CHECK(human_size(125) == "125B");
  CHECK(human_size(32768) == "32.77kB");
  CHECK(human_size(1036208) == "1.036MB");
  CHECK(progress_bar(125, 125) == "[==================================================>]     125B/125B");
  CHECK(progress_bar(32768, 1036208) == "[=>                                                 ]  32.77kB/1.036MB");
  CHECK(progress_bar(0, 0).empty());
  CHECK(progress_bar(10240, 0) == " 10.24kB");
}

TEST_CASE("progress lines reach every client, late ones get what they missed") {
  progress_output output;
  auto first = std::make_shared<byte_channel>(), late = std::make_shared<byte_channel>();
  output.add(first);
  int begun = 0;
  output.on_begun([&] { ++begun; });
  CHECK(begun == 0);
  output.message("1.0", "Pulling from gt/app");
  CHECK(begun == 1);
  output.state("aaaaaaaaaaaa", "Pulling fs layer");
  for (int i = 1; i <= 1000; ++i) output.bytes("aaaaaaaaaaaa", "Downloading", i, 1000);
  output.add(late);
  output.finish();
  const auto all = text_of(*first);
  CHECK(
      all.starts_with("{\"status\":\"Pulling from gt/app\",\"id\":\"1.0\"}\r\n"
                      "{\"status\":\"Pulling fs layer\",\"progressDetail\":{},\"id\":\"aaaaaaaaaaaa\"}\r\n"));
  CHECK(all.find("\"progressDetail\":{\"current\":1000,\"total\":1000},\"progress\":\"[=====") != std::string::npos);
  CHECK(all.find("=\\u003e]") != std::string::npos);
  CHECK(std::count(all.begin(), all.end(), '\n') < 20);
  CHECK(text_of(*late) == "{\"status\":\"Pulling from gt/app\",\"id\":\"1.0\"}\r\n" +
                              all.substr(all.rfind("{\"status\":\"Downloading\"")));
}

TEST_CASE("an error before the first line is no line, after it it is the last") {
  auto client = std::make_shared<byte_channel>();
  progress_output silent;
  silent.add(client);
  silent.finish({errc::not_found, "nothing there"});
  CHECK(silent.failure().message() == "nothing there");
  CHECK(text_of(*client).empty());
  client = std::make_shared<byte_channel>();
  progress_output begun;
  begun.add(client);
  begun.message({}, "x");
  begun.finish({errc::internal, "broke <here>"});
  CHECK(text_of(*client) ==
        "{\"status\":\"x\"}\r\n{\"errorDetail\":{\"message\":\"broke \\u003chere\\u003e\"},"
        "\"error\":\"broke \\u003chere\\u003e\"}\r\n");
}

TEST_CASE("work is given up when the last client goes") {
  progress_output output;
  auto one = std::make_shared<byte_channel>(), two = std::make_shared<byte_channel>();
  int gone = 0;
  output.on_last_gone([&] { ++gone; });
  output.add(one);
  output.add(two);
  one->abort();
  CHECK(gone == 0);
  two->abort();
  CHECK(gone == 1);
  output.finish();
  CHECK(gone == 1);
}

TEST_CASE("patterns match as Go's path.Match does") {
  struct row {
    const char *pattern, *name;
    bool matches;
  };
  for (const auto& r : std::vector<row>{{"abc", "abc", true},
                                        {"*", "abc", true},
                                        {"*c", "abc", true},
                                        {"a*", "a", true},
                                        {"a*", "ab/c", false},
                                        {"a*/b", "abc/b", true},
                                        {"a*/b", "a/c/b", false},
                                        {"ab[c]", "abc", true},
                                        {"ab[b-d]", "abc", true},
                                        {"ab[e-g]", "abc", false},
                                        {"ab[^c]", "abc", false},
                                        {"ab[^e-g]", "abc", true},
                                        {"a\\*b", "a*b", true},
                                        {"a\\*b", "ab", false},
                                        {"a?b",
                                         "a\xe2\x98\xba"
                                         "b",
                                         true},
                                        {"a[^a]b",
                                         "a\xe2\x98\xba"
                                         "b",
                                         true},
                                        {"a?b", "a/b", false},
                                        {"*x", "xxx", true},
                                        {"a*b*c*d*e*/f", "axbxcxdxe/f", true},
                                        {"a*b?c*x", "abxbbxdbxebxczzx", true},
                                        {"foo/**/ba[rz]", "foo/a/bar", true},
                                        {"", "", true},
                                        {"", "a", false}}) {
    INFO(r.pattern << " " << r.name);
    auto m = path_match(r.pattern, r.name);
    REQUIRE(m);
    CHECK(*m == r.matches);
  }
  for (const char* bad : {"[", "[^", "[^bc", "a[", "[x", "[]a]", "[-]", "[x-]", "[a-b-c]", "\\", "*[", "a[b-"}) {
    INFO(bad);
    CHECK_FALSE(path_match(bad, "ab"));
  }
}

TEST_CASE("Dockerfile changes") {
  CHECK(json::parse(apply({"CMD [\"echo\", \"hi\"]", "ENV A=1 B=2", "EXPOSE 80", "USER 1000", "LABEL k=v",
                           "WORKDIR /srv", "VOLUME /data"})) == json({{"Cmd", {"echo", "hi"}},
                                                                      {"Env", {"A=1", "B=2"}},
                                                                      {"ExposedPorts", {{"80/tcp", json::object()}}},
                                                                      {"User", "1000"},
                                                                      {"Labels", {{"k", "v"}}},
                                                                      {"WorkingDir", "/srv"},
                                                                      {"Volumes", {{"/data", json::object()}}}}));
  CHECK(apply({"FROBNICATE x"}) == "FROBNICATE is not a valid change command");
  CHECK(apply({"run x"}) == "run is not a valid change command");
  CHECK(apply({"CMD echo hi"}) == R"({"Cmd":["/bin/sh","-c","echo hi"]})");
  CHECK(apply({"ENV A one two"}) == R"({"Env":["A=one two"]})");
  CHECK(apply({"ENV A=\"x y\" B='z'", "ENV A=2"}) == R"({"Env":["A=2","B=z"]})");
  CHECK(apply({"WORKDIR /a", "WORKDIR b/../c"}) == R"({"WorkingDir":"/a/c"})");
  CHECK(json::parse(apply({"EXPOSE 8000-8001/udp"}))["ExposedPorts"].size() == 2);
  CHECK(apply({"EXPOSE x"}) == "invalid containerPort: x");
  CHECK(json::parse(apply({"HEALTHCHECK --interval=5s --retries=3 CMD curl -f x"}))["Healthcheck"] ==
        json({{"Interval", 5'000'000'000}, {"Retries", 3}, {"Test", {"CMD-SHELL", "curl -f x"}}}));
  CHECK(apply({"env"}) == "ENV requires at least one argument");
  CHECK(apply({"USER"}) == "USER requires exactly one argument");
  CHECK(apply({"WORKDIR"}) == "WORKDIR requires exactly one argument");
  CHECK(apply({"STOPSIGNAL a b"}) == "STOPSIGNAL requires exactly one argument");
  CHECK(apply({"STOPSIGNAL bogus"}) == "invalid signal: bogus");
  CHECK(apply({"STOPSIGNAL 9"}) == R"({"StopSignal":"9"})");
  CHECK(apply({""}) == "file with no instructions");
  CHECK(apply({"", "# x\n "}) == "file with no instructions");
  CHECK(apply({}) == "{}");
}

TEST_CASE("platforms in queries") {
  CHECK(read_platform("linux/arm64/v8")->architecture == "arm64");
  CHECK(read_platform("no/such/os/x").error().message() ==
        "\"no/such/os/x\": cannot parse platform specifier: invalid argument");
  CHECK(read_platform_json("linux/amd64").error().message() ==
        "failed to parse platform: invalid character 'l' looking for beginning of value");
  CHECK(read_platform_json(R"({"os":"linux","architecture":"arm64"})")->architecture == "arm64");
  CHECK(read_platform_json("")->empty());
  CHECK(read_platform_json("null").error().message() == "both OS and Architecture must be provided");
  CHECK(read_platform_json("[]").error().message() ==
        "failed to parse platform: json: cannot unmarshal array into Go value of type v1.Platform");
  CHECK(read_platform_json(R"({"os":5})").error().message() ==
        "failed to parse platform: json: cannot unmarshal number into Go struct field Platform.os of type string");
}
