#include "actors/streams/log_reader.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "actors/streams/mux_frame.hpp"
#include "persistence/base/text.hpp"

namespace arca {

namespace {

constexpr size_t block_size = 256u << 10;
constexpr size_t line_limit = 1u << 20;  ///< no line of ours is longer: what has no newline for so long is garbage
constexpr size_t chunk_size = 64u << 10;
constexpr size_t window = 1u << 20;  ///< of the channel
constexpr int blocks_per_run = 16;   ///< then other readers get the thread

/// Of the pool's thread, not of the reader: a stalled reader holds no memory.
struct workspace {
  raw_buffer block, out;
  json_line line;
};
workspace& mine() {
  static thread_local workspace w;
  return w;
}

uint64_t size_of(const shared_fd& fd) {
  struct stat st {};
  return ::fstat(fd->get(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

struct tail_search {
  bool found = false;  ///< `offset` is where the last `wanted` lines begin
  uint64_t offset = 0;
  int64_t lines = 0;  ///< whole lines in the file, if not found
};

/// Backwards from `end`, in blocks that grow: a short tail of a big log costs one small read.
tail_search find_tail(int fd, uint64_t end, int64_t wanted) {
  auto& block = mine().block;
  tail_search result;
  uint64_t length = 8u << 10;
  for (uint64_t at = end; at > 0; at -= length, length *= 4) {
    length = std::min<uint64_t>({length, block_size, at});
    block.clear();
    block.reserve_more(length);
    if (::pread(fd, block.data(), length, static_cast<off_t>(at - length)) != static_cast<ssize_t>(length)) break;
    for (size_t left = length; left > 0;) {
      const auto* newline = static_cast<const char*>(::memrchr(block.data(), '\n', left));
      if (newline == nullptr) break;
      left = static_cast<size_t>(newline - block.data());
      if (result.lines++ == wanted) return {true, at - length + left + 1, wanted};
    }
  }
  result.found = result.lines == wanted;
  return result;
}

}  // namespace

log_reader::log_reader(std::shared_ptr<work_pool> pool, std::shared_ptr<log_files> files, const log_query& query,
                       std::shared_ptr<byte_channel> output)
    : pool_(std::move(pool)), files_(std::move(files)), query_(query), output_(std::move(output)), room_(block_size) {}

std::shared_ptr<log_reader> log_reader::start(std::shared_ptr<work_pool> pool, std::shared_ptr<log_files> files,
                                              const log_query& query, std::shared_ptr<byte_channel> output) {
  std::shared_ptr<log_reader> reader(new log_reader(std::move(pool), std::move(files), query, std::move(output)));
  reader->begin();
  return reader;
}

std::shared_ptr<log_reader> log_reader::replay(std::shared_ptr<work_pool> pool, std::shared_ptr<log_files> files,
                                               const log_query& query, std::shared_ptr<byte_channel> output,
                                               log_place stop, std::function<void()> at_stop) {
  std::shared_ptr<log_reader> reader(new log_reader(std::move(pool), std::move(files), query, std::move(output)));
  reader->stop_ = stop;
  reader->at_stop_ = std::move(at_stop);
  reader->begin();
  return reader;
}

void log_reader::begin() {
  // The channel's callbacks keep the reader; they go when it is closed or aborted. A replay's owner watches for abort.
  output_->on_writable([self = shared_from_this()] { self->wake(); });
  if (!at_stop_) output_->on_abort([self = shared_from_this()] { self->wake(); });
  reading = files_->oldest();
  if (query_.follow || stop_) files_->add(weak_from_this());  // from here on the writer keeps what is not read yet
  wake();
}

void log_reader::resume(log_place stop) {
  {
    const std::lock_guard guard(resume_lock_);
    resume_at_ = stop;
  }
  wake();
}

bool log_reader::resumed() {
  const std::lock_guard guard(resume_lock_);
  if (!resume_at_) return false;
  stop_ = resume_at_;
  resume_at_.reset();
  parked_ = false;
  return true;
}

void log_reader::wake() {
  int seen = state_.load();
  do {
    if (seen == 2) return;
  } while (!state_.compare_exchange_weak(seen, seen + 1));
  if (seen == 0) pool_->post([self = shared_from_this()] { self->run(); });
}

void log_reader::run() {
  if (step() == outcome::again) state_.store(2);
  int running = 1;
  if (state_.compare_exchange_strong(running, 0)) return;
  state_.store(1);
  pool_->post([self = shared_from_this()] { self->run(); });
}

void log_reader::open() {
  opened_ = true;
  ahead_ = files_->open_all(query_.follow || at_stop_ ? reading.load() : UINT64_MAX);
  std::reverse(ahead_.begin(), ahead_.end());
  // What comes later is not for a reader that does not follow: it could chase a fast writer for ever.
  if (!query_.follow && !stop_)
    stop_ = ahead_.empty() ? log_place{} : log_place{ahead_.front().generation, size_of(ahead_.front().fd)};
  if (query_.follow && query_.until > now_nanos()) {
    using clock = work_pool::clock;
    const auto when = std::chrono::duration_cast<clock::duration>(std::chrono::nanoseconds(query_.until));
    pool_->post_at(clock::time_point(when) + std::chrono::milliseconds(1), [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->wake();
    });
  }
  if (query_.tail >= 0)
    seek_tail();
  else
    next_file();
}

void log_reader::seek_tail() {
  auto wanted = query_.tail;
  for (size_t i = 0; i < ahead_.size(); ++i) {
    uint64_t end = size_of(ahead_[i].fd);
    if (stop_ && ahead_[i].generation == stop_->generation) end = std::min(end, stop_->size);
    const auto tail = find_tail(ahead_[i].fd->get(), end, wanted);
    if (tail.found) {
      ahead_.resize(i + 1);
      next_file();
      at_ = tail.offset;
      return;
    }
    wanted -= tail.lines;
  }
  next_file();
}

/// The next file that was there at the start, else the next that the writer made. False when there is none.
bool log_reader::next_file() {
  log_files::file next;
  if (!ahead_.empty()) {
    next = std::move(ahead_.back());
    ahead_.pop_back();
  } else {
    next = files_->open_from(file_.fd ? file_.generation + 1 : reading.load());
  }
  if (!next.fd) return false;
  file_ = std::move(next);
  at_ = 0;
  reading = file_.generation;
  return true;
}

log_reader::outcome log_reader::step() {
  if (over_) return outcome::wait;
  if (output_->aborted()) {
    finish();
    return outcome::wait;
  }
  if (parked_ && !resumed()) return outcome::wait;
  if (!opened_) open();
  mine().out.clear();
  full_ = output_->queued() >= window;
  for (int round = 0; round < blocks_per_run; ++round) {
    if (full_) return outcome::wait;  // on_writable goes on
    // Both are read before the file: what is written after that wakes this reader once more.
    const bool live = files_->live();
    const auto newest = files_->current();
    const bool progress = read_block();
    if (progress && !over_) continue;
    flush();
    if (over_) return at_end();
    if (full_) return outcome::wait;
    const bool stop_passed = stop_ && file_.fd && file_.generation >= stop_->generation;
    if (!stop_passed && (!file_.fd || newest > file_.generation || !ahead_.empty()) && next_file()) continue;
    const bool waits = !stop_ && query_.follow && live && (query_.until == 0 || now_nanos() < query_.until);
    return waits ? outcome::wait : at_end();
  }
  flush();
  return outcome::again;
}

/// Reads and decodes once. False: there is no whole line behind at_ for now.
bool log_reader::read_block() {
  if (!file_.fd) return false;
  auto& block = mine().block;
  uint64_t length = room_;
  if (stop_ && file_.generation > stop_->generation) return false;
  if (stop_ && file_.generation == stop_->generation)
    length = std::min<uint64_t>(length, stop_->size > at_ ? stop_->size - at_ : 0);
  block.clear();
  block.reserve_more(length);
  const auto n = length == 0 ? 0 : ::pread(file_.fd->get(), block.data(), length, static_cast<off_t>(at_));
  if (n <= 0) {
    if (at_ == 0 || size_of(file_.fd) >= at_) return false;
    at_ = 0;  // someone emptied the file
    return true;
  }
  const auto used = decode({block.data(), static_cast<size_t>(n)});
  at_ += used;
  if (used != 0 || over_ || full_) {
    room_ = block_size;
    return true;
  }
  if (static_cast<size_t>(n) < room_) return false;  // the beginning of a line that is being written, or a torn one
  if (room_ < line_limit) {
    room_ *= 2;
  } else {
    at_ += static_cast<uint64_t>(n);  // what is left of such a line is no entry either and is passed over
    room_ = block_size;
  }
  return true;
}

/// Answers how many bytes of whole lines it has taken: all, unless the channel is full or `until` is passed.
size_t log_reader::decode(std::string_view block) {
  const auto size = block.size();
  while (!full_) {
    const auto* newline =
        block.empty() ? nullptr : static_cast<const char*>(std::memchr(block.data(), '\n', block.size()));
    if (newline == nullptr) break;
    put({block.data(), static_cast<size_t>(newline - block.data())});
    if (over_) break;
    block.remove_prefix(static_cast<size_t>(newline - block.data()) + 1);
    if (mine().out.size() >= chunk_size) flush();
  }
  return size - block.size();
}

void log_reader::put(std::string_view text) {
  auto& line = mine().line;
  auto& out = mine().out;
  if (!parse_json_line(text, line)) return;  // damaged: Docker passes over it too
  if (query_.since != 0 || query_.until != 0) {
    int64_t time = 0;
    if (!parse_rfc3339(line.time, time)) return;
    if (time < query_.since) return;
    if (query_.until != 0 && time > query_.until) {
      over_ = true;
      return;
    }
  }
  if (!(line.stream == 1 ? query_.out : line.stream == 2 && query_.err)) return;
  const auto begin = out.size();
  if (query_.framed) out.append(std::string_view("\0\0\0\0\0\0\0\0", mux_header_size));
  if (query_.timestamps) {
    append_fixed_time(out, line.time);
    out.append(" ");
  }
  if (query_.details) {
    if (line.attributes != details_of_) {
      details_of_ = line.attributes;
      details_ = details_text(line.attributes);
    }
    out.append(details_);
    out.append(" ");
  }
  append_text(out, line);
  if (query_.framed) put_mux_header(out.data() + begin, line.stream, out.size() - begin - mux_header_size);
}

void log_reader::flush() {
  auto& out = mine().out;
  if (out.size() == 0) return;
  full_ = output_->push(std::string(out.view())) != byte_channel::push_result::more;  // closed: the abort wakes us
  out.clear();
}

log_reader::outcome log_reader::at_end() {
  if (!at_stop_ || over_) {
    finish();
  } else {
    parked_ = true;
    at_stop_();
  }
  return outcome::wait;
}

void log_reader::finish() {
  over_ = true;
  file_ = {};
  ahead_.clear();
  at_stop_ = nullptr;
  output_->close();
}

}  // namespace arca
