#include "guest/record_buffer.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

using namespace arca;
using namespace arca::guest;

namespace {
// Writes `bytes` as a process would; the number taken.
size_t put(record_buffer& into, std::string_view bytes, bool connected, bool forced = false) {
  size_t done = 0;
  while (done < bytes.size()) {
    std::array<iovec, 4> places;
    const size_t count = into.reserve(places.data(), places.size(), connected, forced);
    if (count == 0) break;
    size_t filled = 0;
    for (size_t i = 0; i < count && done < bytes.size(); ++i) {
      const size_t n = std::min(places[i].iov_len, bytes.size() - done);
      std::memcpy(places[i].iov_base, bytes.data() + done, n);
      done += n;
      filled += n;
    }
    into.commit(1, 5, filled);
  }
  return done;
}

// A daemon that reads `step` bytes at a time and checks the records' numbers.
struct reader {
  std::string wire, text;
  uint64_t last = 0, lost = 0;
  bool gap = false;

  void take(record_buffer& from, size_t most) {
    std::array<outgoing, 16> parts;
    const size_t count = from.unsent(parts.data(), parts.size());
    size_t left = most;
    size_t sent = 0;
    for (size_t i = 0; i < count && left > 0; ++i) {
      const size_t n = std::min(left, parts[i].size);
      wire.append(parts[i].at, n);
      left -= n;
      sent += n;
    }
    from.sent(sent);
    while (wire.size() >= sizeof(stdio::frame)) {
      stdio::frame head;
      std::memcpy(&head, wire.data(), sizeof head);
      if (wire.size() < sizeof head + head.length) break;
      if (head.kind == stdio::frame_kind::lost) {
        lost += head.sequence;
      } else {
        if (last != 0 && head.sequence != last + 1) gap = true;
        last = head.sequence;
        text.append(wire, sizeof head, head.length);
      }
      wire.erase(0, sizeof head + head.length);
    }
  }
};

std::string numbered(size_t size) {
  std::string out;
  for (uint64_t i = 0; out.size() < size; ++i) out += std::to_string(i) + '\n';
  return out;
}
std::string spool_path() {
  return "/tmp/guest-record-buffer-" + std::to_string(getpid());
}
}  // namespace

TEST_CASE("records are numbered from 1, at most 16 KiB, and forgotten when acknowledged") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 0);
  CHECK(buffer.last_sequence() == 0);
  const std::string text = numbered(100'000);
  CHECK(put(buffer, text, true) == text.size());
  reader daemon;
  while (buffer.has_unsent()) daemon.take(buffer, 1 << 20);
  CHECK(daemon.text == text);
  CHECK(daemon.last == buffer.last_sequence());
  CHECK(buffer.first_kept() == 1);
  buffer.acknowledge(3);
  CHECK(buffer.first_kept() == 4);
  buffer.acknowledge(1'000'000);  // nonsense beyond what was sent is cut
  CHECK(buffer.first_kept() == daemon.last + 1);
  CHECK(buffer.empty());
  CHECK(pool.spare() > 0);
}

TEST_CASE("what was not sent cannot be acknowledged") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 0);
  put(buffer, numbered(50'000), true);
  reader daemon;
  daemon.take(buffer, 17'000);  // one record and a bit
  CHECK(buffer.rest_of_frame() > 0);
  buffer.acknowledge(100);
  CHECK(buffer.first_kept() == 2);
  while (buffer.has_unsent()) daemon.take(buffer, 1000);
  CHECK_FALSE(daemon.gap);
}

TEST_CASE("connected: memory is the limit") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 64 << 20);
  const std::string text = numbered(4 << 20);
  const size_t taken = put(buffer, text, true);
  CHECK(taken >= 1 << 20);
  CHECK(taken <= record_buffer::memory_chunks * chunk_pool::chunk_size);
  CHECK_FALSE(buffer.has_room(true));
  CHECK(buffer.has_room(false));
  CHECK(buffer.spooled() == 0);
}

TEST_CASE("nobody connected: the spool takes over up to its limit, and order is kept") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 2 << 20);
  const std::string text = numbered(8 << 20);
  size_t taken = put(buffer, text, false);
  CHECK(taken > 3'000'000);
  CHECK(taken < (2 << 20) + record_buffer::memory_chunks * chunk_pool::chunk_size);
  CHECK(buffer.spooled() <= 2 << 20);
  CHECK(access(spool_path().c_str(), F_OK) == 0);
  CHECK_FALSE(buffer.has_room(true));  // what is spooled goes first
  reader daemon;
  buffer.rewind(1);
  while (!buffer.empty() || taken < text.size()) {
    daemon.take(buffer, 30'000);
    buffer.acknowledge(daemon.last);
    buffer.refill();
    taken += put(buffer, std::string_view(text).substr(taken, 50'000), true);
  }
  CHECK_FALSE(daemon.gap);
  CHECK(daemon.text == text);
}

TEST_CASE("what a dead process left is taken beyond the limits") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 1 << 20);
  const std::string text = numbered(6 << 20);
  size_t taken = put(buffer, text, false);
  REQUIRE(taken < text.size());
  taken += put(buffer, std::string_view(text).substr(taken, 1 << 20), false, true);
  const bool connected = GENERATE(true, false);
  taken += put(buffer, std::string_view(text).substr(taken, 1 << 20), connected, true);
  reader daemon;
  buffer.rewind(1);
  while (!buffer.empty()) {
    daemon.take(buffer, 100'000);
    buffer.acknowledge(daemon.last);
    buffer.refill();
  }
  CHECK(daemon.text == text.substr(0, taken));
}

TEST_CASE("a new connection gets everything from its first number on") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 0);
  for (int i = 0; i < 20; ++i) put(buffer, "line " + std::to_string(i) + '\n', true);
  reader first;
  first.take(buffer, 100);
  buffer.rewind(5);
  CHECK(buffer.first_kept() == 5);
  reader second;
  while (buffer.has_unsent()) second.take(buffer, 7);
  CHECK(second.text.substr(0, 7) == "line 4\n");
  CHECK(second.last == 20);
  buffer.rewind(100);  // more than there is: nothing left
  CHECK(buffer.empty());
  put(buffer, "next", true);
  reader third;
  third.take(buffer, 1000);
  CHECK(third.last == 21);
}

TEST_CASE("lost records are told between their neighbours and at the end") {
  chunk_pool pool;
  record_buffer buffer(pool, spool_path(), 0);
  put(buffer, "a", true);
  buffer.add_lost(3);
  put(buffer, "b", true);
  reader daemon;
  daemon.take(buffer, 1000);
  CHECK(daemon.text == "ab");
  CHECK(daemon.lost == 3);
  CHECK(daemon.last == 2);
  buffer.rewind(2);  // told again, since b comes again
  reader again;
  again.take(buffer, 1000);
  CHECK(again.text == "b");
  CHECK(again.lost == 3);
  buffer.acknowledge(2);
  buffer.add_lost(2);
  buffer.finish();
  again.take(buffer, 1000);
  CHECK(again.lost == 5);
}

TEST_CASE("random walk: any mixture of reads, sends, acknowledgements and reconnections keeps every byte") {
  std::mt19937 random(20261125);
  for (int run = 0; run < 20; ++run) {
    chunk_pool pool;
    record_buffer buffer(pool, spool_path(), 3 << 20);
    const std::string text = numbered(3 << 20);
    size_t taken = 0;
    bool connected = true;
    std::string safe;  // what the daemon has acknowledged
    uint64_t safe_until = 0;
    reader daemon;
    while (taken < text.size() || !buffer.empty()) {
      const auto dice = random() % 16;
      if (dice < 7) {
        taken += put(buffer, std::string_view(text).substr(taken, random() % 60'000), connected);
      } else if (dice < 12 && connected) {
        daemon.take(buffer, random() % 90'000);
      } else if (dice < 14 && connected && daemon.last > safe_until) {
        safe += daemon.text;
        daemon.text.clear();
        safe_until = daemon.last;
        buffer.acknowledge(safe_until);
        buffer.refill();
      } else if (dice == 14) {
        connected = false;
        daemon = {};
      } else if (!connected) {
        connected = true;
        buffer.rewind(safe_until + 1);
      }
    }
    CHECK(safe + daemon.text == text);
  }
}
