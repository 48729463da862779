#include "actors/streams/json_line.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <random>

using namespace arca;

namespace {

std::string encode(std::string_view head, std::string_view tail, bool newline, int stream = 1,
                   int64_t time = 1'700'000'000'123'400'000,
                   const std::map<std::string, std::string>& attributes = {}) {
  json_line_encoder encoder(attributes);
  raw_buffer out;
  encoder.append(out, head, tail, newline, stream, time);
  return std::string(out.view());
}

std::string decode(std::string_view line) {
  json_line parsed;
  if (!parse_json_line(line, parsed)) return "[no entry]";
  raw_buffer out;
  append_text(out, parsed);
  return std::string(out.view());
}

std::string fixed(std::string_view time) {
  raw_buffer out;
  append_fixed_time(out, time);
  return std::string(out.view());
}

}  // namespace

TEST_CASE("entries are byte for byte Docker's") {
  CHECK(encode("", "hello", true) == R"({"log":"hello\n","stream":"stdout","time":"2023-11-14T22:13:20.1234Z"})"
                                     "\n");
  CHECK(encode("he", "llo", false, 2, 1'700'000'000'000'000'000) ==
        R"({"log":"hello","stream":"stderr","time":"2023-11-14T22:13:20Z"})"
        "\n");
  CHECK(encode("", "a\tb\r\\\"<>&\x01\x7f", true).substr(8, 44) == R"(a\u0009b\r\\\"\u003c\u003e\u0026\u0001)"
                                                                   "\x7f"
                                                                   R"(\n",")");
  CHECK(encode("", "x", true, 1, 0, {{"tag", "a<b"}, {"COLOR", "blue"}}) ==
        R"({"log":"x\n","stream":"stdout","attrs":{"COLOR":"blue","tag":"a\u003cb"},"time":"1970-01-01T00:00:00Z"})"
        "\n");
}

TEST_CASE("invalid UTF-8 becomes the replacement character, a byte at a time, as in Go") {
  const auto body = [](std::string_view text) {
    return encode("", text, false).substr(8, encode("", text, false).find("\",\"stream") - 8);
  };
  CHECK(body("\xff") == "\\ufffd");
  CHECK(body("a\xc3") == "a\\ufffd");  // cut off
  CHECK(body("\xe2\x82") == "\\ufffd\\ufffd");
  CHECK(body("\xc0\xaf") == "\\ufffd\\ufffd");                        // overlong
  CHECK(body("\xed\xa0\x80") == "\\ufffd\\ufffd\\ufffd");             // surrogate
  CHECK(body("\xf4\x90\x80\x80") == "\\ufffd\\ufffd\\ufffd\\ufffd");  // beyond Unicode
  CHECK(body("\xe2\x80\xa8\xe2\x80\xa9") == "\\u2028\\u2029");
  CHECK(body("äöü€😀") == "äöü€😀");
  CHECK(encode("\xe2\x82", "\xac", false).substr(8, 3) == "€");  // a character over the border of two records
}

TEST_CASE("what is written can be read, by us and by any JSON parser") {
  std::mt19937 random(7);
  const std::vector<std::string> pieces = {"plain text ", "\"",   "\\",           "\t",
                                           "€",           "😀",   "\r",           std::string(1, '\0'),
                                           "<&>",         "\x7f", "\xe2\x80\xa8", "0123456789abcdef"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t n = random() % 20; n > 0; --n) text += pieces[random() % pieces.size()];
    const auto cut = text.empty() ? 0 : random() % text.size();
    auto line = encode(text.substr(0, cut), text.substr(cut), true);
    line.pop_back();
    CHECK(decode(line) == text + "\n");
    const auto doc = nlohmann::json::parse(line, nullptr, false);
    REQUIRE(doc.is_object());
    CHECK(doc["log"] == text + "\n");
  }
  std::string bytes;
  for (int round = 0; round < 2000; ++round) {  // any bytes: always valid JSON
    bytes.clear();
    for (size_t n = random() % 60; n > 0; --n) bytes += static_cast<char>(random());
    auto line = encode("", bytes, false);
    line.pop_back();
    CHECK_FALSE(nlohmann::json::parse(line, nullptr, false).is_discarded());
    CHECK(nlohmann::json::parse(line, nullptr, false)["log"] == decode(line));
  }
}

TEST_CASE("entries of other writers are read, garbage is refused") {
  json_line parsed;
  REQUIRE(parse_json_line(R"({ "time": "2020-01-01T00:00:00Z", "stream":"stderr", "log":"x\u00e9\ud83d\ude00\n" })",
                          parsed));
  CHECK(parsed.stream == 2);
  CHECK(parsed.time == "2020-01-01T00:00:00Z");
  CHECK(decode(R"({"log":"\ud83d\ude00\ud800\u12","stream":"stdout","time":"2020-01-01T00:00:00Z"})") ==
        "😀\xef\xbf\xbd\xef\xbf\xbd"
        "12");
  for (const char* bad :
       {"", "x", "{", "[]", "null", R"({"log":"cut)", R"({"log":"a","stream":"stdout","time":"2020-01-01T00)"})
    CHECK_FALSE(parse_json_line(bad, parsed));
  REQUIRE(parse_json_line(
      R"({"log":"a","stream":"stdout","attrs":{"b":"c d","a":"1&}\""},"time":"2020-01-01T00:00:00.5Z"})", parsed));
  CHECK_FALSE(parsed.decoded);
  CHECK(parsed.attributes == R"({"b":"c d","a":"1&}\""})");
  CHECK(details_text(parsed.attributes) == "a=1%26%7D%22,b=c+d");
  CHECK(fixed(parsed.time) == "2020-01-01T00:00:00.500000000Z");
  CHECK(fixed("2020-01-01T00:00:00Z") == "2020-01-01T00:00:00.000000000Z");
  CHECK(fixed("nonsense") == "nonsense");
}
