#include "guest/record_buffer.hpp"

#include <algorithm>
#include <cstring>

#include "guest/agent_log.hpp"

namespace arca::guest {
namespace {
using stdio::frame;
using stdio::frame_kind;

// A block whose rest is smaller than this is full: a few bytes' room would only make tiny records.
constexpr size_t least_space = 2 * sizeof(frame) + 4096;

frame header_at(const char* memory) {
  frame head;
  std::memcpy(&head, memory, sizeof head);
  return head;
}
}  // namespace

bool record_buffer::memory_has_room() const {
  if (!spool_.empty() || !late_.empty()) return false;
  return chunks_.size() < memory_chunks || chunk_pool::chunk_size - chunks_.back().end >= least_space;
}

record_buffer::target record_buffer::choose(bool connected, bool forced) const {
  if (memory_has_room()) return target::memory;
  if (!connected && late_.empty() && spool_.size() + least_space <= spool_limit_) return target::spool;
  if (!forced) return target::none;
  return !connected || !spool_.empty() || !late_.empty() ? target::spool : target::memory;
}

bool record_buffer::has_room(bool connected) const {
  return choose(connected, false) != target::none;
}

record_buffer::chunk& record_buffer::tail_with_space(target where) {
  if (where == target::spool) {
    if (!reading_.memory) reading_ = {pool_.take()};
    return reading_;
  }
  if (chunks_.empty() || chunk_pool::chunk_size - chunks_.back().end < least_space) chunks_.push_back({pool_.take()});
  return chunks_.back();
}

void record_buffer::append_lost(chunk& into) {
  if (lost_ == 0) return;
  frame head;
  head.kind = frame_kind::lost;
  head.sequence = lost_;
  std::memcpy(into.memory.get() + into.end, &head, sizeof head);
  into.end += sizeof head;
  lost_ = 0;
}

size_t record_buffer::reserve(iovec* places, size_t max, bool connected, bool forced) {
  reserved_ = choose(connected, forced);
  if (reserved_ == target::none) return 0;
  chunk& into = tail_with_space(reserved_);
  append_lost(into);
  reserved_chunk_ = &into;
  size_t count = 0;
  size_t space = chunk_pool::chunk_size;
  if (reserved_ == target::spool && !forced)
    space = std::min<uint64_t>(space, into.end + (spool_limit_ - spool_.size()));
  for (size_t at = into.end; count < max && at + sizeof(frame) < space; ++count) {
    at += sizeof(frame);
    const size_t length = std::min<size_t>(stdio::max_payload, space - at);
    places[count] = {into.memory.get() + at, length};
    at += length;
  }
  return count;
}

void record_buffer::commit(uint8_t stream, int64_t time, size_t bytes) {
  chunk& into = *reserved_chunk_;
  while (bytes > 0) {
    frame head;
    head.stream = stream;
    head.length = static_cast<uint32_t>(std::min<size_t>(stdio::max_payload, bytes));
    head.sequence = next_++;
    head.time = time;
    std::memcpy(into.memory.get() + into.end, &head, sizeof head);
    into.end += sizeof head + head.length;
    bytes -= head.length;
  }
  settle_spooled();
}

void record_buffer::settle_spooled() {
  if (reserved_ == target::memory && !chunks_.empty() && chunks_.back().begin == chunks_.back().end) {
    chunks_.pop_back();  // the read gave nothing
    if (at_chunk_ >= chunks_.size()) {
      at_chunk_ = chunks_.empty() ? 0 : chunks_.size() - 1;
      at_offset_ = chunks_.empty() ? 0 : chunks_.back().end;
    }
  }
  if (reserved_ == target::spool && reading_.end > 0) {
    if (late_.empty()) {
      const auto written = spool_.append({reading_.memory.get(), reading_.end});
      if (written) {
        reading_ = {};
      } else {
        log().write("spool: " + written.error().message());
      }
    }
    if (reading_.memory) late_.push_back(std::move(reading_));
  }
  reading_ = {};
  reserved_ = target::none;
  reserved_chunk_ = nullptr;
}

void record_buffer::finish() {
  if (lost_ == 0) return;
  reserved_ = choose(true, true);
  append_lost(tail_with_space(reserved_));
  settle_spooled();
}

void record_buffer::refill() {
  while (chunks_.size() < memory_chunks && !spool_.empty()) {
    chunk fresh{pool_.take()};
    const auto got = spool_.peek(fresh.memory.get(), chunk_pool::chunk_size);
    const size_t have = got ? *got : 0;
    while (fresh.end + sizeof(frame) <= have) {
      const size_t whole = sizeof(frame) + header_at(fresh.memory.get() + fresh.end).length;
      if (whole > sizeof(frame) + stdio::max_payload || fresh.end + whole > have) break;
      fresh.end += whole;
    }
    if (fresh.end == 0) {
      log().write("spool: unreadable, its records are lost" + (got ? std::string() : ": " + got.error().message()));
      spool_.drop_front(spool_.size());
      return;
    }
    spool_.drop_front(fresh.end);
    chunks_.push_back(std::move(fresh));
  }
  while (chunks_.size() < memory_chunks && spool_.empty() && !late_.empty()) {
    chunks_.push_back(std::move(late_.front()));
    late_.pop_front();
  }
}

bool record_buffer::has_unsent() const {
  if (chunks_.empty()) return false;
  return at_chunk_ + 1 < chunks_.size() || at_offset_ < chunks_[at_chunk_].end;
}

size_t record_buffer::unsent(outgoing* places, size_t max) const {
  size_t count = 0;
  size_t offset = at_offset_;
  for (size_t i = at_chunk_; i < chunks_.size() && count < max; ++i) {
    const chunk& c = chunks_[i];
    if (offset < c.end) places[count++] = {c.memory.get() + offset, c.end - offset, c.memory};
    offset = i + 1 < chunks_.size() ? chunks_[i + 1].begin : 0;
  }
  return count;
}

void record_buffer::sent(size_t bytes) {
  while (bytes > 0 && at_chunk_ < chunks_.size()) {
    const chunk& c = chunks_[at_chunk_];
    if (at_offset_ == c.end) {
      if (at_chunk_ + 1 == chunks_.size()) return;
      at_offset_ = chunks_[++at_chunk_].begin;
      continue;
    }
    if (frame_left_ == 0) frame_left_ = sizeof(frame) + header_at(c.memory.get() + at_offset_).length;
    const size_t step = std::min(bytes, frame_left_);
    at_offset_ += step;
    frame_left_ -= step;
    bytes -= step;
  }
}

bool record_buffer::front_was_sent() const {
  if (at_chunk_ > 0) return true;
  const chunk& c = chunks_.front();
  return c.begin + sizeof(frame) + header_at(c.memory.get() + c.begin).length <= at_offset_;
}

void record_buffer::pop_front_frame() {
  chunk& c = chunks_.front();
  const frame head = header_at(c.memory.get() + c.begin);
  c.begin += sizeof(frame) + head.length;
  if (head.kind == frame_kind::output) ++head_;
  if (c.begin < c.end) return;
  chunks_.pop_front();
  if (at_chunk_ > 0) {
    --at_chunk_;
  } else {
    at_offset_ = chunks_.empty() ? 0 : chunks_.front().begin;
  }
}

void record_buffer::acknowledge(uint64_t sequence) {
  while (!chunks_.empty() && head_ <= sequence && front_was_sent()) pop_front_frame();
}

void record_buffer::reset_cursor() {
  at_chunk_ = 0;
  at_offset_ = chunks_.empty() ? 0 : chunks_.front().begin;
  frame_left_ = 0;
}

void record_buffer::rewind(uint64_t first) {
  reset_cursor();
  for (refill(); !chunks_.empty() && head_ < first; refill()) {
    while (!chunks_.empty() && head_ < first) pop_front_frame();
  }
  reset_cursor();
}

}  // namespace arca::guest
