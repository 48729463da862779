#include "actors/streams/stdio_socket.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca {

using stdio::frame;
using stdio::frame_kind;

namespace {
constexpr size_t read_size = 256u << 10;
constexpr size_t ack_every = 1u << 20;  ///< half of what an agent keeps; each costs a virtual machine 0.3 ms
constexpr size_t out_limit = 1u << 20;  ///< stdin is bounded by its window; the rest is an agent that does not read
static_assert(read_size + stdio::max_payload + sizeof(frame) <= io_loop::buffer_size);
}  // namespace

stdio_socket::stdio_socket(io_loop& loop, unique_fd fd, std::shared_ptr<owner> owner, uint64_t last_sequence)
    : loop_(loop), fd_(std::move(fd)), owner_(std::move(owner)), last_sequence_(last_sequence), acked_(last_sequence) {}

std::shared_ptr<stdio_socket> stdio_socket::open(io_loop& loop, unique_fd fd, std::shared_ptr<owner> owner,
                                                 uint64_t last_sequence) {
  std::shared_ptr<stdio_socket> socket(new stdio_socket(loop, std::move(fd), std::move(owner), last_sequence));
  const int size = 1 << 20;  // the process reads its input in large pieces; refused sizes do not matter
  ::setsockopt(socket->fd_.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  socket->id_ = loop.add(socket->fd_.get(), EPOLLIN, socket);
  return socket;
}

void stdio_socket::close() {
  if (!fd_) return;
  flush_ack();
  if (!fd_) return;
  const auto keep = shared_from_this();
  loop_.remove(id_);
  fd_.reset();
  owner_.reset();
}

void stdio_socket::broken(std::string_view why) {
  if (!fd_) return;
  const auto keep = shared_from_this();
  const auto told = std::move(owner_);
  loop_.remove(id_);
  fd_.reset();
  if (told) told->on_broken(why);
}

void stdio_socket::on_stop() {
  fd_.reset();
  const auto released = std::move(owner_);  // which may own this socket
}

void stdio_socket::update() {
  if (!fd_) return;
  const bool more = sent_ < out_.size();
  loop_.watch(id_, (paused_ ? 0u : uint32_t{EPOLLIN}) | (more ? uint32_t{EPOLLOUT} : 0u));
}

void stdio_socket::pause(bool paused) {
  if (paused_ == paused) return;
  paused_ = paused;
  update();
}

void stdio_socket::on_ready(uint32_t events) {
  if ((events & EPOLLOUT) != 0) send();
  if (!fd_) return;
  if (!paused_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read_once();
}

bool stdio_socket::read_once() {
  if (!fd_) return false;
  char* const buffer = loop_.buffer();
  const size_t begun = rest_.size();
  std::memcpy(buffer, rest_.data(), begun);
  const auto n = ::recv(fd_.get(), buffer + begun, read_size, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    broken(n == 0 ? "the agent has closed the connection" : "recv failed");
    return false;
  }
  const auto keep = shared_from_this();
  const std::string_view bytes(buffer, begun + static_cast<size_t>(n));
  const auto used = handle(bytes);
  if (!fd_) return false;
  if (used == bytes.size() && rest_.capacity() > 4096)
    rest_ = std::string();  // idle sockets hold no memory
  else
    rest_.assign(bytes.substr(used));
  return true;
}

size_t stdio_socket::handle(std::string_view bytes) {
  static thread_local std::vector<output_record> records;
  records.clear();
  frame_reader reader(bytes);
  frame header;
  std::string_view payload;
  std::string_view why;
  bool end = false;
  const int64_t now = now_nanos();  // a guest sets its clock as it likes; nothing was written later than this
  const auto deliver = [&] {
    if (records.empty() || !owner_) return;
    const auto owner = owner_;
    owner->on_records(records);
    records.clear();
  };
  while (why.empty() && !end) {
    const auto status = reader.next(header, payload);
    if (status == frame_reader::status::need_more) break;
    if (status == frame_reader::status::broken) {
      why = "the agent sent a frame that is not of the protocol";
      break;
    }
    switch (header.kind) {
      case frame_kind::output:
        if (header.sequence <= last_sequence_) {
          why = "the agent sent a record twice";
          break;
        }
        last_sequence_ = header.sequence;
        records.push_back({header.stream, header.sequence, std::min(header.time, now), payload});
        break;
      case frame_kind::end:
        end = true;
        if (header.sequence > last_sequence_) why = "the agent ended without its last records";
        break;
      case frame_kind::lost:
        log::debug("process output was dropped (mode=non-blocking)",
                   log::kv("records", static_cast<int64_t>(header.sequence)));
        break;
      case frame_kind::stdin_credit: {
        // More than was sent on this connection: input of an earlier daemon's.
        uncredited_ -= static_cast<size_t>(std::min<uint64_t>(header.sequence, uncredited_));
        const auto owner = owner_;
        if (owner) owner->on_stdin_room();
        break;
      }
      case frame_kind::stdin_closed: {
        const auto owner = owner_;
        if (owner) owner->on_stdin_closed();
        break;
      }
      default:
        break;
    }
    if (!fd_) return bytes.size();
  }
  deliver();  // also what came whole before a broken frame
  if (!fd_) return bytes.size();
  if (!why.empty()) {
    broken(why);
  } else if (end) {
    const auto owner = owner_;
    owner->on_end(header);
  }
  return reader.consumed();
}

void stdio_socket::queue(frame_kind kind, uint64_t sequence, std::string_view payload) {
  frame header;
  header.kind = kind;
  header.stream = 0;
  header.length = static_cast<uint32_t>(payload.size());
  header.sequence = sequence;
  last_resize_ = std::string::npos;
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  out_.append(payload);
}

void stdio_socket::send() {
  while (fd_ && sent_ < out_.size()) {
    const auto n = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      // Output that the agent sent before it went is still there: the reading side notices the end.
      out_.clear();
      sent_ = 0;
      break;
    }
    sent_ += static_cast<size_t>(n);
  }
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
    last_resize_ = std::string::npos;
    if (out_.capacity() > (64u << 10)) out_ = std::string();
  } else if (out_.size() - sent_ > out_limit) {
    return broken("the agent does not read");
  } else if (sent_ > out_limit / 2) {
    out_.erase(0, sent_);
    if (last_resize_ != std::string::npos)
      last_resize_ = last_resize_ >= sent_ ? last_resize_ - sent_ : std::string::npos;
    sent_ = 0;
  }
  update();
}

void stdio_socket::ack(uint64_t sequence, size_t bytes) {
  if (!fd_) return;
  ack_due_ = sequence;
  ack_bytes_ += bytes;
  if (ack_bytes_ >= ack_every)
    flush_ack();
  else
    loop_.call_later(id_);
}

void stdio_socket::flush_ack() {
  if (!fd_ || ack_due_ <= acked_) return;
  if (out_.size() - sent_ >= out_limit / 2) return loop_.call_later(id_);  // the newest is enough once there is room
  acked_ = ack_due_;
  ack_bytes_ = 0;
  queue(frame_kind::ack, acked_, {});
  send();
}

void stdio_socket::resize(uint32_t rows, uint32_t columns) {
  if (!fd_) return;
  const uint64_t size = uint64_t{rows} << 32 | columns;
  if (last_resize_ != std::string::npos && last_resize_ >= sent_) {  // only the last of neighbouring ones matters
    std::memcpy(out_.data() + last_resize_ + offsetof(frame, sequence), &size, sizeof size);
    return;
  }
  const auto at = out_.size();
  queue(frame_kind::resize, size, {});
  last_resize_ = at;
  send();
}

void stdio_socket::send_stdin(std::string_view bytes) {
  if (!fd_) return;
  uncredited_ += bytes.size();
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, stdio::max_payload);
    queue(frame_kind::stdin_data, 0, piece);
    bytes.remove_prefix(piece.size());
  }
  send();
}

void stdio_socket::close_stdin() {
  if (!fd_) return;
  queue(frame_kind::stdin_close, 0, {});
  send();
}

}  // namespace arca
