#include "guest/stdin_writer.hpp"

#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "guest/proto/stdio_frame.hpp"

namespace arca::guest {

void set_terminal_size(int fd, uint32_t rows, uint32_t columns) {
  if (rows == 0 || columns == 0) return;
  winsize size{};
  size.ws_row = static_cast<uint16_t>(std::min<uint32_t>(rows, 0xffff));
  size.ws_col = static_cast<uint16_t>(std::min<uint32_t>(columns, 0xffff));
  ioctl(fd, TIOCSWINSZ, &size);
}

stdin_writer::stdin_writer(loop& on, unique_fd fd, bool terminal, std::function<void(uint64_t)> on_consumed,
                           std::function<void()> on_closed)
    : loop_(on),
      fd_(std::move(fd)),
      terminal_(terminal),
      on_consumed_(std::move(on_consumed)),
      on_closed_(std::move(on_closed)) {
  watch();
}

stdin_writer::~stdin_writer() {
  if (fd_ && watching_) loop_.forget(fd_.get());
}

// A pipe whose reader is gone shows EPOLLERR without being asked. A terminal's master shows EPOLLHUP for ever once the
// last program has closed it, so it is looked at only while input waits.
void stdin_writer::watch() {
  if (!fd_) return;
  const bool want = !terminal_ || !waiting_.empty();
  const uint32_t events = waiting_.empty() ? 0 : static_cast<uint32_t>(EPOLLOUT);
  if (want && watching_) {
    loop_.change(fd_.get(), events);
  } else if (want) {
    loop_.watch(fd_.get(), events, [this](uint32_t seen) {
      if ((seen & EPOLLERR) != 0 && !terminal_) return shut(true);
      run();
    });
  } else if (watching_) {
    loop_.forget(fd_.get());
  }
  watching_ = want;
}

bool stdin_writer::data(std::string_view bytes) {
  if (!fd_) {
    on_consumed_(bytes.size());  // dropped, but the daemon's window must not stay shut
    return true;
  }
  if (waiting_.empty()) {
    const ssize_t n = write_some(bytes);
    if (n < 0) return shut(true), true;
    consumed(static_cast<size_t>(n));
    bytes.remove_prefix(static_cast<size_t>(n));
    if (bytes.empty()) return true;
  }
  if (waiting_bytes_ + bytes.size() > 2 * uint64_t{stdio::stdin_window}) return false;
  waiting_bytes_ += bytes.size();
  add({kind::data, std::string(bytes)});
  return true;
}

void stdin_writer::close() {
  if (terminal_) return;  // as with Docker, a terminal's input has no end but ^D
  add({kind::close, {}});
  run();
}

void stdin_writer::resize(uint16_t rows, uint16_t columns) {
  if (!terminal_) return;
  if (waiting_.size() > 1024) return;  // sizes alone carry no credit
  add({kind::resize, {}, 0, rows, columns});
  run();
}

void stdin_writer::add(item it) {
  if (!fd_) return;
  waiting_.push_back(std::move(it));
  watch();
}

// The number of bytes taken, 0 when it would block, -1 when nobody reads any more.
ssize_t stdin_writer::write_some(std::string_view bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd_.get(), bytes.data() + done, bytes.size() - done);
    if (n >= 0) {
      done += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      return -1;
    }
  }
  return static_cast<ssize_t>(done);
}

void stdin_writer::consumed(size_t bytes) {
  const auto old = std::min<uint64_t>(foreign_, bytes);
  foreign_ -= old;
  if (bytes > old) on_consumed_(bytes - old);
}

void stdin_writer::run() {
  while (fd_ && !waiting_.empty()) {
    item& first = waiting_.front();
    if (first.what == kind::close) return shut(false);
    if (first.what == kind::resize) {
      set_terminal_size(fd_.get(), first.rows, first.columns);
    } else {
      const ssize_t n = write_some(std::string_view(first.bytes).substr(first.done));
      if (n < 0) return shut(true);
      first.done += static_cast<size_t>(n);
      waiting_bytes_ -= static_cast<uint64_t>(n);
      const bool whole = first.done == first.bytes.size();
      consumed(static_cast<size_t>(n));
      if (!whole) break;
    }
    waiting_.pop_front();
  }
  watch();
}

void stdin_writer::shut(bool by_process) {
  if (!fd_) return;
  if (watching_) loop_.forget(fd_.get());
  watching_ = false;
  fd_.reset();
  const uint64_t left = waiting_bytes_;
  waiting_.clear();
  waiting_bytes_ = 0;
  consumed(left);
  if (by_process) on_closed_();
}

}  // namespace arca::guest
