#include "guest/frame_reader.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace arca;
using namespace arca::guest;

namespace {
std::string encode(stdio::frame_kind kind, uint64_t sequence, const std::string& payload = {}) {
  stdio::frame head;
  head.kind = kind;
  head.sequence = sequence;
  head.length = static_cast<uint32_t>(payload.size());
  return std::string(reinterpret_cast<const char*>(&head), sizeof head) + payload;
}
}  // namespace

TEST_CASE("frames arrive whole however the bytes are cut") {
  const std::string all = encode(stdio::frame_kind::ack, 7) + encode(stdio::frame_kind::stdin_data, 0, "hello") +
                          encode(stdio::frame_kind::stdin_data, 0, std::string(stdio::max_payload, 'x')) +
                          encode(stdio::frame_kind::resize, 99);
  for (const size_t step : {1ul, 3ul, 24ul, 25ul, 1000ul, all.size()}) {
    frame_reader reader;
    std::vector<std::pair<stdio::frame, std::string>> got;
    for (size_t at = 0; at < all.size(); at += step)
      REQUIRE(
          reader.feed(std::string_view(all).substr(at, step), [&](const stdio::frame& head, std::string_view payload) {
            got.emplace_back(head, std::string(payload));
            return true;
          }));
    REQUIRE(got.size() == 4);
    CHECK(got[0].first.sequence == 7);
    CHECK(got[1].second == "hello");
    CHECK(got[2].second == std::string(stdio::max_payload, 'x'));
    CHECK(got[3].first.kind == stdio::frame_kind::resize);
  }
}

TEST_CASE("a frame that is too long is refused before its payload is kept") {
  std::string bad = encode(stdio::frame_kind::stdin_data, 0);
  const uint32_t length = stdio::max_payload + 1;
  std::memcpy(bad.data() + offsetof(stdio::frame, length), &length, sizeof length);
  for (const size_t step : {bad.size(), 5ul}) {
    frame_reader reader;
    bool good = true;
    for (size_t at = 0; at < bad.size() && good; at += step)
      good = reader.feed(std::string_view(bad).substr(at, step),
                         [](const stdio::frame&, std::string_view) { return true; });
    CHECK_FALSE(good);
  }
}

TEST_CASE("the handler's refusal ends the reading") {
  frame_reader reader;
  int calls = 0;
  const std::string two = encode(stdio::frame_kind::end, 1) + encode(stdio::frame_kind::ack, 1);
  CHECK_FALSE(reader.feed(two, [&](const stdio::frame&, std::string_view) { return ++calls, false; }));
  CHECK(calls == 1);
}
