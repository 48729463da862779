// All bytes of one process: its pipes or terminal on one side, at most one connection of the daemon on the other
// (guest/proto/stdio_frame.hpp). What the daemon has not acknowledged is kept in a record_buffer.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "guest/frame_reader.hpp"
#include "guest/loop.hpp"
#include "guest/record_buffer.hpp"
#include "guest/stdin_writer.hpp"
#include "guest/stdio_connection.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

struct stdio_options {
  bool tty = false;
  bool open_stdin = false;
  bool capture = true;
  uint32_t rows = 0, columns = 0;
  uint64_t spool_limit = 0;
  bool non_blocking = false;
  bool exit_with_output = false;  ///< the frame `end` says how the process ended
};

struct process_end {
  int code = 0;
  int64_t at = 0;  ///< unix nanoseconds
};

/// What the process gets as descriptors 0, 1 and 2. With a terminal all three are /dev/null and the launcher makes it.
struct child_stdio {
  unique_fd in, out, err;
};

class process_stdio {
 public:
  process_stdio(loop& on, chunk_pool& pool, stdio_options options, std::string spool_path);
  process_stdio(const process_stdio&) = delete;
  process_stdio& operator=(const process_stdio&) = delete;
  ~process_stdio();

  /// Makes the pipes; before the process starts.
  result<child_stdio> open();
  /// The process runs: begins to read; or has `ended`, and process_exited comes next. `terminal` is its master where
  /// there is one. `finished(last_sequence)` is called once, after process_exited and the last record.
  void begin(unique_fd terminal, bool ended, std::function<void(uint64_t)> finished);
  /// The process has ended. Its output ends with the end of its pipes, or 2 s later when somebody else holds them.
  void process_exited(process_end how);

  /// A connection of the daemon whose hello was read; replaces the one before.
  void attach(std::unique_ptr<stdio_connection> connection, uint64_t first_sequence);
  void resize(uint32_t rows, uint32_t columns);

  const stdio_options& options() const { return options_; }
  uint64_t last_sequence() const { return buffer_.last_sequence(); }
  bool connected() const { return static_cast<bool>(connection_); }
  /// How the process ended is on its way to a daemon that asked for it.
  bool exit_sent() const { return options_.exit_with_output && end_sent_; }

 private:
  struct source {
    unique_fd fd;
    uint8_t stream = 1;
    bool watching = false;
  };

  // output
  void on_readable(source& from);
  size_t read_once(source& from, bool forced);
  size_t throw_away(source& from);
  size_t ended_or_empty(source& from, ssize_t n, int failure);
  void read_rest_of_dead(source& from);
  void pause(source& from);
  void resume_sources();
  void close_source(source& from);
  void check_finished();
  bool sources_open() const;
  // connection
  enum class reception : uint8_t { nothing, frames, over };
  void on_connection(bool readable, bool writable);
  reception listen();
  void hear_last_words();
  bool on_frame(const stdio::frame& head, std::string_view payload);
  void disconnect();
  void send();
  void queue_control();

  loop& loop_;
  stdio_options options_;
  record_buffer buffer_;
  std::array<source, 2> sources_;
  std::unique_ptr<stdin_writer> input_;
  unique_fd terminal_;
  std::function<void(uint64_t)> finished_;
  bool ended_ = false;  ///< and process_exited comes at once: not worth watching until then
  bool exited_ = false;
  process_end how_{};
  bool grown_ = false;
  loop::timer_id cut_timer_ = 0;

  std::unique_ptr<stdio_connection> connection_;
  frame_reader incoming_;
  bool blocked_ = false;      ///< the connection took no more, and will tell
  bool listening_ = false;    ///< to frames that were received
  std::string control_;       ///< frames beside the records, encoded
  uint64_t credit_ = 0;       ///< of stdin, not yet told
  bool tell_closed_ = false;  ///< stdin_closed is to be sent
  bool end_sent_ = false;
};

}  // namespace arca::guest
