#include "vm/channel/reply_guard.hpp"

#include <catch2/catch.hpp>
#include <string>

using arca::vm::reply_guard;

namespace {

std::string frame(unsigned type, unsigned flags, unsigned stream, const std::string& payload) {
  std::string out;
  for (const unsigned byte : {unsigned(payload.size() >> 16), unsigned(payload.size() >> 8), unsigned(payload.size()),
                              type, flags, stream >> 24, stream >> 16, stream >> 8, stream})
    out += static_cast<char>(byte);
  return out + payload;
}

std::string message(const std::string& body, uint32_t length, char compressed = 0) {
  std::string out(1, compressed);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(length >> shift);
  return out + body;
}
std::string message(const std::string& body) {
  return message(body, static_cast<uint32_t>(body.size()));
}

constexpr unsigned data = 0, headers = 1, reset = 3, ping = 6, end = 1, padded = 8;
constexpr unsigned reserved = 1u << 31;  ///< of a stream's number
}  // namespace

TEST_CASE("reply guard: what a server sends passes, however it is cut") {
  const auto whole = frame(4, 0, 0, std::string(12, 's')) + frame(headers, 4, 1, "header") +
                     frame(data, 0, 1, message("hello") + message("")) +
                     frame(data, 0, 3, message("wor").substr(0, 3)) + frame(ping, 0, 0, "12345678") +
                     frame(data, padded, 3, '\2' + message("wor").substr(3) + "xx") +
                     frame(data, 0, 5, message("be", 4)) + frame(data, 0, 7, {}) + frame(data, 0, 5, "gun") +
                     frame(headers, end, 1, "over");
  // In stream 5 the message of 4 bytes ends one byte before the frame does: a next one begins.
  for (size_t step = 1; step < whole.size(); ++step) {
    CAPTURE(step);
    reply_guard guard(5);
    for (size_t at = 0; at < whole.size(); at += step) REQUIRE(guard.accept(std::string_view(whole).substr(at, step)));
  }
}

TEST_CASE("reply guard: a message that is too large is refused when its length is known") {
  const auto large = frame(data, 0, 1, message("", 6));
  for (size_t step = 1; step <= large.size(); ++step) {
    CAPTURE(step);
    reply_guard guard(5);
    bool passed = true;
    for (size_t at = 0; at < large.size() && passed; at += step)
      passed = guard.accept(std::string_view(large).substr(at, step));
    CHECK_FALSE(passed);
  }
  reply_guard second(5);
  CHECK_FALSE(second.accept(frame(data, 0, 1, message("hello") + message("", 0xffffffff))));
  reply_guard compressed(5);
  CHECK_FALSE(compressed.accept(frame(data, 0, 1, message("hi", 2, 1))));
  reply_guard padding(5);
  CHECK_FALSE(padding.accept(frame(data, padded, 1, "\7abc")));
}

TEST_CASE("reply guard: a message in parts is one, whatever the frames between say of its stream") {
  const auto head = message("", 0x7f000000);
  const auto begun = frame(data, 0, 1, head.substr(0, 2)), rest = head.substr(2);
  for (const unsigned stream : {1u, 1u | reserved}) {
    CAPTURE(stream);
    reply_guard guard(1000);
    REQUIRE(guard.accept(begun));
    CHECK_FALSE(guard.accept(frame(data, 0, stream, rest)));
  }
  for (const auto& between : {frame(headers, end, 1, "over"), frame(data, end, 1, ""),
                              frame(data, end, 1 | reserved, ""), frame(reset, 0, 3, "code")}) {
    reply_guard guard(1000);
    REQUIRE(guard.accept(begun));
    REQUIRE(guard.accept(between));
    CHECK_FALSE(guard.accept(frame(data, 0, 1, rest)));
  }
  reply_guard guard(5);  // what passes without the bit passes with it
  CHECK(guard.accept(frame(data, 0, 1, message("hello").substr(0, 3)) +
                     frame(data, 0, 1 | reserved, message("hello").substr(3)) + frame(data, 0, 1, message("again"))));
}

TEST_CASE("reply guard: a call that ends in the middle is forgotten, and not more begin than there can be") {
  reply_guard guard(1000);
  for (unsigned i = 0; i < 100'000; ++i) {
    const unsigned stream = 2 * i + 1;
    REQUIRE(guard.accept(frame(data, 0, stream, message("half", 1000))));
    if (i % 2 == 0) REQUIRE(guard.accept(frame(headers, end, stream, "aborted")));
    REQUIRE(guard.accept(frame(reset, 0, stream | (i % 3 == 0 ? reserved : 0), "code")));
  }
  bool passed = true;
  unsigned begun = 0;
  while (passed && begun < 100'000) passed = guard.accept(frame(data, 0, 2 * ++begun + 1, message("half", 1000)));
  CHECK(begun == 4097);
}
