// The daemon's end of one process's stdio socket: frames in, acknowledgements, stdin and resizes out. Lives on one
// io_loop; every call comes from its thread.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "actors/streams/frame_reader.hpp"
#include "actors/streams/io_loop.hpp"
#include "actors/streams/log_writer.hpp"

namespace arca {

class stdio_socket final : public io_handler, public std::enable_shared_from_this<stdio_socket> {
 public:
  class owner {
   public:
    virtual ~owner() = default;
    /// In order, sequences rising. The bytes are valid during the call.
    virtual void on_records(std::span<const output_record> records) = 0;
    virtual void on_stdin_room() = 0;                  ///< the process has consumed some
    virtual void on_stdin_closed() = 0;                ///< by the process
    virtual void on_end(const stdio::frame& end) = 0;  ///< every record was delivered
    virtual void on_broken(std::string_view why) = 0;
  };

  /// `last_sequence`: records up to it are known already.
  static std::shared_ptr<stdio_socket> open(io_loop& loop, unique_fd fd, std::shared_ptr<owner> owner,
                                            uint64_t last_sequence);
  /// No call to the owner comes after it. What is queued to be sent is tried once more.
  void close();
  bool closed() const { return !fd_; }

  /// A paused socket is not read: the agent's buffers fill, then the process blocks.
  void pause(bool paused);
  /// Everything up to `sequence`, `bytes` more than last time, is safe. Sent at once for much, else within about 1 ms.
  void ack(uint64_t sequence, size_t bytes);
  void flush_ack();
  void resize(uint32_t rows, uint32_t columns);
  /// How much may be sent until the process consumes.
  size_t stdin_room() const { return stdio::stdin_window - uncredited_; }
  void send_stdin(std::string_view bytes);
  void close_stdin();

  /// Reads once, at most 256 KiB. False when there was nothing to read or the socket is closed.
  bool read_once();

  void on_ready(uint32_t events) override;
  void on_delay() override { flush_ack(); }
  void on_stop() override;

 private:
  stdio_socket(io_loop& loop, unique_fd fd, std::shared_ptr<owner> owner, uint64_t last_sequence);
  size_t handle(std::string_view bytes);
  void queue(stdio::frame_kind kind, uint64_t sequence, std::string_view payload = {});
  void send();
  void update();
  void broken(std::string_view why);

  io_loop& loop_;
  unique_fd fd_;
  std::shared_ptr<owner> owner_;
  uint64_t id_ = 0;
  uint64_t last_sequence_;
  bool paused_ = false;
  std::string rest_;  ///< beginning of a frame whose end has not come
  std::string out_;   ///< to be sent, from sent_ on
  size_t sent_ = 0;
  size_t last_resize_ = std::string::npos;  ///< where in out_ a resize lies that nothing follows
  size_t uncredited_ = 0;
  uint64_t ack_due_ = 0, acked_ = 0;
  size_t ack_bytes_ = 0;
};

}  // namespace arca
