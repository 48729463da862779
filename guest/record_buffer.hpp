// The output of one process that the daemon has not acknowledged yet, as frames exactly as they travel
// (guest/proto/stdio_frame.hpp), so that reading from a pipe and writing to the socket need no copy in between.
//
// Order of what is kept: memory (at most `memory_chunks` blocks), then the spool file, then `late_` blocks (only when
// the spool cannot be written). Sending goes on from a cursor in memory; acknowledged records are removed from the
// front.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <string>

#include "guest/chunk_pool.hpp"
#include "guest/outgoing.hpp"
#include "guest/proto/stdio_frame.hpp"
#include "guest/spool_file.hpp"

namespace arca::guest {

class record_buffer {
 public:
  static constexpr size_t memory_chunks = 4;  ///< 2 MiB of payload

  record_buffer(chunk_pool& pool, std::string spool_path, uint64_t spool_limit)
      : pool_(pool), spool_(std::move(spool_path)), spool_limit_(spool_limit) {}

  // ---- the side that reads the process's output
  /// Whether output may be read now. While a daemon is connected memory alone counts; otherwise the spool takes over.
  bool has_room(bool connected) const;
  /// Places to read payload into, at most `max` of them; 0 when there is no room. `forced` ignores the limits: what a
  /// dead process left in its pipes (bounded by the pipes) must not be lost. Valid until commit.
  size_t reserve(iovec* places, size_t max, bool connected, bool forced);
  /// `bytes` were read into the places of the last reserve: they become records of `stream`, read at `time`.
  void commit(uint8_t stream, int64_t time, size_t bytes);
  /// Non-blocking mode threw `records` away before the next record.
  void add_lost(uint64_t records) { lost_ += records; }
  /// Writes the count of what was lost at the very end.
  void finish();

  // ---- the side that sends
  /// Forgets everything before `first` (the daemon has it) and sends from there on.
  void rewind(uint64_t first);
  /// Forgets records up to `sequence`, as far as they were sent.
  void acknowledge(uint64_t sequence);
  /// Moves spooled frames into free memory.
  void refill();
  bool has_unsent() const;
  /// Bytes of the frame whose beginning was sent already; nothing else may be put on the wire before them.
  size_t rest_of_frame() const { return frame_left_; }
  /// What is to be sent next, each piece with its owner; the number of places used.
  size_t unsent(outgoing* places, size_t max) const;
  void sent(size_t bytes);

  uint64_t last_sequence() const { return next_ - 1; }
  uint64_t first_kept() const { return head_; }
  bool empty() const { return chunks_.empty() && spool_.empty() && late_.empty(); }
  uint64_t spooled() const { return spool_.size(); }
  /// No frames wait for free memory.
  bool all_in_memory() const { return spool_.empty() && late_.empty(); }

 private:
  struct chunk {
    chunk_pool::memory memory;
    size_t begin = 0;
    size_t end = 0;
  };
  enum class target : uint8_t { none, memory, spool };

  bool memory_has_room() const;
  target choose(bool connected, bool forced) const;
  chunk& tail_with_space(target where);
  void append_lost(chunk& into);
  void pop_front_frame();
  void reset_cursor();
  bool front_was_sent() const;
  void settle_spooled();

  chunk_pool& pool_;
  std::deque<chunk> chunks_;
  std::deque<chunk> late_;
  chunk reading_;  ///< being filled for the spool
  spool_file spool_;
  uint64_t spool_limit_;
  target reserved_ = target::none;
  chunk* reserved_chunk_ = nullptr;
  uint64_t next_ = 1;     ///< number of the next record
  uint64_t head_ = 1;     ///< number of the first record kept
  uint64_t lost_ = 0;     ///< thrown away since the last record
  size_t at_chunk_ = 0;   ///< cursor: index in chunks_
  size_t at_offset_ = 0;  ///< cursor: offset in that chunk
  size_t frame_left_ = 0;
};

}  // namespace arca::guest
