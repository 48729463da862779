// The input side of a process: bytes, end of input and terminal sizes, applied in the order in which they came.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "guest/loop.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class stdin_writer {
 public:
  /// `fd` is the write end of a pipe, or a descriptor of the terminal's master; non-blocking.
  /// on_consumed(n): n more bytes of the present connection were taken. on_closed(): the process reads no more.
  stdin_writer(loop& on, unique_fd fd, bool terminal, std::function<void(uint64_t)> on_consumed,
               std::function<void()> on_closed);
  stdin_writer(const stdin_writer&) = delete;
  stdin_writer& operator=(const stdin_writer&) = delete;
  ~stdin_writer();

  /// False when the daemon sent more than it may (stdio::stdin_window beyond what was credited).
  bool data(std::string_view bytes);
  void close();
  void resize(uint16_t rows, uint16_t columns);
  /// A new connection: what still waits came over the old one and gives the new one no credit.
  void new_connection() { foreign_ = waiting_bytes_; }
  bool closed() const { return !fd_; }

 private:
  enum class kind : uint8_t { data, close, resize };
  struct item {
    kind what;
    std::string bytes;
    size_t done = 0;
    uint16_t rows = 0, columns = 0;
  };
  void add(item it);
  void run();
  ssize_t write_some(std::string_view bytes);
  void consumed(size_t bytes);
  void shut(bool by_process);
  void watch();

  loop& loop_;
  unique_fd fd_;
  bool terminal_;
  bool watching_ = false;
  std::function<void(uint64_t)> on_consumed_;
  std::function<void()> on_closed_;
  std::deque<item> waiting_;
  uint64_t waiting_bytes_ = 0;
  uint64_t foreign_ = 0;
};

/// Sets a terminal's size; 0 for either leaves it alone.
void set_terminal_size(int fd, uint32_t rows, uint32_t columns);

}  // namespace arca::guest
