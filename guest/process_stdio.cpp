#include "guest/process_stdio.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using stdio::frame;
using stdio::frame_kind;
using namespace std::chrono_literals;

constexpr size_t many = 64u << 10;  // a read of this much means a busy writer
constexpr int busy_pipe = 1 << 20;  // what its pipe is grown to
constexpr size_t large_piece = 256u << 10;
constexpr int most_last_words = 64;        // receptions
constexpr auto grace_after_exit = 2000ms;  // moby's limit for streams that others hold open

// One for all processes: they are served by one thread.
std::array<char, 64u << 10>& scratch() {
  static std::array<char, 64u << 10> memory;
  return memory;
}

void set_nonblocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

result<std::pair<unique_fd, unique_fd>> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("pipe");
  return std::pair(unique_fd(ends[0]), unique_fd(ends[1]));
}
}  // namespace

process_stdio::process_stdio(loop& on, chunk_pool& pool, stdio_options options, std::string spool_path)
    : loop_(on), options_(options), buffer_(pool, std::move(spool_path), options.spool_limit) {}

process_stdio::~process_stdio() {
  loop_.cancel(cut_timer_);
  disconnect();
  for (auto& from : sources_) pause(from);
}

result<child_stdio> process_stdio::open() {
  child_stdio child;
  const auto null = [] { return unique_fd(::open("/dev/null", O_RDWR | O_CLOEXEC)); };
  if (options_.open_stdin && !options_.tty) {
    ARCA_TRY(ends, make_pipe());
    child.in = std::move(ends.first);
    set_nonblocking(ends.second.get());
    input_ = std::make_unique<stdin_writer>(
        loop_, std::move(ends.second), false, [this](uint64_t n) { credit_ += n, send(); },
        [this] { tell_closed_ = true, send(); });
  } else {
    child.in = null();
  }
  if (options_.capture && !options_.tty) {
    for (uint8_t i = 0; i < 2; ++i) {
      ARCA_TRY(ends, make_pipe());
      (i == 0 ? child.out : child.err) = std::move(ends.second);
      set_nonblocking(ends.first.get());
      sources_[i].fd = std::move(ends.first);
      sources_[i].stream = static_cast<uint8_t>(i + 1);
    }
  } else {
    child.out = null();
    child.err = null();
  }
  if (!child.in || !child.out || !child.err) return fail_errno("open /dev/null");
  return child;
}

void process_stdio::begin(unique_fd terminal, bool ended, std::function<void(uint64_t)> finished) {
  finished_ = std::move(finished);
  if (terminal) {
    set_nonblocking(terminal.get());
    set_terminal_size(terminal.get(), options_.rows, options_.columns);
    if (options_.open_stdin) {
      input_ = std::make_unique<stdin_writer>(
          loop_, unique_fd(fcntl(terminal.get(), F_DUPFD_CLOEXEC, 3)), true,
          [this](uint64_t n) { credit_ += n, send(); }, [this] { tell_closed_ = true, send(); });
    }
    // The master is read even when nothing is captured: a full terminal would block the process.
    sources_[0].fd.reset(fcntl(terminal.get(), F_DUPFD_CLOEXEC, 3));
    terminal_ = std::move(terminal);
  }
  ended_ = ended;
  resume_sources();
}

// ---- output

bool process_stdio::sources_open() const {
  return std::ranges::any_of(sources_, [](const source& s) { return static_cast<bool>(s.fd); });
}

void process_stdio::pause(source& from) {
  if (from.watching) loop_.forget(from.fd.get());
  from.watching = false;
}

void process_stdio::resume_sources() {
  if (!finished_ || (ended_ && !exited_)) return;
  if (!options_.non_blocking && !buffer_.has_room(connected())) return;
  for (auto& from : sources_) {
    if (!from.fd || from.watching) continue;
    from.watching = true;
    loop_.watch(from.fd.get(), EPOLLIN, [this, &from](uint32_t) { on_readable(from); });
  }
}

void process_stdio::close_source(source& from) {
  pause(from);
  from.fd.reset();
}

// Reads what fits; the number of bytes. 0: the source has nothing now, or has ended, or there is no room.
size_t process_stdio::read_once(source& from, bool forced) {
  if (!options_.capture) return throw_away(from);
  std::array<iovec, 32> places;
  const size_t count = buffer_.reserve(places.data(), places.size(), connected(), forced);
  if (count == 0) {
    if (options_.non_blocking) return throw_away(from);
    for (auto& each : sources_) pause(each);
    return 0;
  }
  const ssize_t n = ::readv(from.fd.get(), places.data(), static_cast<int>(count));
  const int failure = errno;
  buffer_.commit(from.stream, now_nanos(), n > 0 ? static_cast<size_t>(n) : 0);
  if (n <= 0) return ended_or_empty(from, n, failure);
  if (static_cast<size_t>(n) >= many && !grown_ && !options_.tty) {
    grown_ = true;
    fcntl(from.fd.get(), F_SETPIPE_SZ, busy_pipe);
  }
  return static_cast<size_t>(n);
}

size_t process_stdio::throw_away(source& from) {
  const ssize_t n = ::read(from.fd.get(), scratch().data(), scratch().size());
  if (n <= 0) return ended_or_empty(from, n, errno);
  if (options_.capture) buffer_.add_lost((static_cast<uint64_t>(n) + stdio::max_payload - 1) / stdio::max_payload);
  return static_cast<size_t>(n);
}

// 0 is the end of a pipe, EIO that of a terminal which the last program has closed.
size_t process_stdio::ended_or_empty(source& from, ssize_t n, int failure) {
  const bool only_empty = n < 0 && (failure == EINTR || failure == EAGAIN);
  if (!only_empty) close_source(from);
  return 0;
}

void process_stdio::on_readable(source& from) {
  // In large pieces: each message of a virtual machine's port costs its two ends several switches of threads.
  size_t unsent = 0;
  for (int round = 0; round < 4 && from.fd; ++round) {
    const size_t n = read_once(from, false);
    unsent += n;
    if (n < many) break;
    if (unsent >= large_piece) send(), unsent = 0;
  }
  send();
  check_finished();
}

void process_stdio::process_exited(process_end how) {
  exited_ = true;
  how_ = how;
  input_.reset();
  for (auto& from : sources_)
    if (from.fd) read_rest_of_dead(from);
  if (sources_open()) {
    send();
    resume_sources();
    cut_timer_ = loop_.after(grace_after_exit, [this] {
      cut_timer_ = 0;
      for (auto& from : sources_) {
        if (from.fd) read_rest_of_dead(from);
        if (from.fd) close_source(from);  // its holder may go on writing
      }
      send();
      check_finished();
    });
  }
  check_finished();
}

// The window may be full and nobody reading: what the dead process wrote is still complete after this, and bounded by
// what a pipe holds. One read more than that finds the end.
void process_stdio::read_rest_of_dead(source& from) {
  int held = 0;
  if (ioctl(from.fd.get(), FIONREAD, &held) != 0) held = 0;
  size_t left = options_.tty ? many : static_cast<size_t>(std::max(held, 0));
  while (from.fd) {
    const size_t n = read_once(from, true);
    if (n == 0 || left == 0) break;
    left -= std::min(left, n);
  }
}

void process_stdio::check_finished() {
  if (!exited_ || sources_open() || !finished_) return;
  loop_.cancel(cut_timer_);
  buffer_.finish();
  terminal_.reset();
  const auto tell = std::exchange(finished_, {});
  send();
  tell(buffer_.last_sequence());
}

void process_stdio::resize(uint32_t rows, uint32_t columns) {
  if (terminal_) set_terminal_size(terminal_.get(), rows, columns);
}

// ---- connection

void process_stdio::attach(std::unique_ptr<stdio_connection> connection, uint64_t first_sequence) {
  disconnect();
  connection_ = std::move(connection);
  incoming_ = {};
  buffer_.rewind(std::max<uint64_t>(first_sequence, 1));
  if (input_) input_->new_connection();
  tell_closed_ = options_.open_stdin && (input_ ? input_->closed() : exited_);
  connection_->begin([this](bool readable, bool writable) { on_connection(readable, writable); });
  send();
  resume_sources();
}

void process_stdio::disconnect() {
  if (!connection_) return;
  connection_.reset();
  blocked_ = false;
  control_.clear();
  credit_ = 0;
  tell_closed_ = false;
  end_sent_ = false;
}

void process_stdio::on_connection(bool readable, bool writable) {
  if (writable) blocked_ = false;
  const auto heard = readable ? listen() : reception::nothing;
  if (heard == reception::nothing && !writable) return;
  if (heard == reception::over) disconnect();
  buffer_.refill();
  send();
  resume_sources();
}

process_stdio::reception process_stdio::listen() {
  const ssize_t n = connection_ ? connection_->receive(scratch().data(), scratch().size()) : 0;
  if (n == 0) return reception::nothing;
  listening_ = true;
  const bool good =
      n > 0 && incoming_.feed({scratch().data(), static_cast<size_t>(n)},
                              [this](const frame& head, std::string_view payload) { return on_frame(head, payload); });
  listening_ = false;
  return good ? reception::frames : reception::over;
}

// Of a daemon that takes nothing more. Its last acknowledgements count, even if it read as fast as was sent to it.
void process_stdio::hear_last_words() {
  if (listening_) return;  // what is sent in answer to a frame: the others are in hand
  blocked_ = true;
  for (int i = 0; i < most_last_words && listen() == reception::frames; ++i) {
  }
}

bool process_stdio::on_frame(const frame& head, std::string_view payload) {
  switch (head.kind) {
    case frame_kind::ack:
      buffer_.acknowledge(head.sequence);
      return true;
    case frame_kind::stdin_data:
      if (!input_) {
        credit_ += payload.size();
        return true;
      }
      return input_->data(payload);
    case frame_kind::stdin_close:
      if (input_) input_->close();
      return true;
    case frame_kind::resize: {
      const auto rows = static_cast<uint32_t>(head.sequence >> 32);
      const auto columns = static_cast<uint32_t>(head.sequence);
      if (input_) {
        input_->resize(static_cast<uint16_t>(std::min<uint32_t>(rows, 0xffff)),
                       static_cast<uint16_t>(std::min<uint32_t>(columns, 0xffff)));
      } else {
        resize(rows, columns);
      }
      return true;
    }
    default:
      return false;
  }
}

void process_stdio::queue_control() {
  if (!control_.empty()) return;
  const auto add = [this](frame_kind kind, uint64_t sequence) {
    frame head;
    head.kind = kind;
    head.sequence = sequence;
    control_.append(reinterpret_cast<const char*>(&head), sizeof head);
  };
  if (const uint64_t credit = std::exchange(credit_, 0); credit > 0) add(frame_kind::stdin_credit, credit);
  if (std::exchange(tell_closed_, false)) add(frame_kind::stdin_closed, 0);
}

// On the wire: the rest of a frame that was cut by a full connection, then frames beside the records, then records, and
// behind the last of them the end.
void process_stdio::send() {
  while (connection_ && !blocked_) {
    queue_control();
    std::array<outgoing, 19> parts;
    size_t count = 0;
    size_t rest = control_.empty() ? 0 : buffer_.rest_of_frame();
    std::array<outgoing, 16> records;
    const size_t record_parts = buffer_.unsent(records.data(), records.size());
    size_t first = 0;
    if (rest > 0 && record_parts > 0) {  // a frame never crosses a block
      parts[count++] = {records[0].at, rest, records[0].owner};
      records[0].at += rest;
      records[0].size -= rest;
      if (records[0].size == 0) first = 1;
    }
    if (!control_.empty()) parts[count++] = {control_.data(), control_.size(), nullptr};
    size_t bytes = 0;
    for (size_t i = first; i < record_parts; ++i) {
      bytes += records[i].size;
      parts[count++] = std::move(records[i]);
    }
    frame end;
    end.kind = frame_kind::end;
    end.sequence = buffer_.last_sequence();
    if (options_.exit_with_output) {
      end.reserved = static_cast<uint16_t>(stdio::exit_told | (how_.code & 0xff));
      end.time = how_.at;
    }
    const bool ends = exited_ && !finished_ && !end_sent_ && record_parts < records.size() && buffer_.all_in_memory();
    if (ends) parts[count++] = {reinterpret_cast<const char*>(&end), sizeof end, nullptr};
    if (count == 0) return;
    const ssize_t n = connection_->send(parts.data(), count, ends);
    if (n == 0) {
      blocked_ = true;
      return;
    }
    if (n < 0) {
      hear_last_words();
      disconnect();
      return resume_sources();
    }
    auto left = static_cast<size_t>(n);
    const size_t before = std::min(left, rest);
    buffer_.sent(before);
    left -= before;
    const size_t beside = std::min(left, control_.size());
    control_.erase(0, beside);
    left -= beside;
    bytes = std::min(left, bytes);
    buffer_.sent(bytes);
    if (left > bytes) {
      end_sent_ = true;
      control_.assign(reinterpret_cast<const char*>(&end) + (left - bytes), sizeof end - (left - bytes));
    }
  }
}

}  // namespace arca::guest
