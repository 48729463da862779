// One client: reads requests, has them answered, writes the answers; keep-alive, pipelining, streams and hijacking.
// A coroutine per connection, on its shard's thread; nothing here is touched by another thread.
#pragma once
#include <chrono>
#include <memory>
#include <optional>

#include "actors/streams/byte_channel.hpp"
#include "http/head.hpp"
#include "http/input_buffer.hpp"
#include "http/request_parser.hpp"
#include "http/shard.hpp"
#include "http/signal.hpp"
#include "http/transport.hpp"

namespace arca::http {

class connection final : public call, public std::enable_shared_from_this<connection> {
 public:
  connection(shard& home, std::unique_ptr<transport> socket);
  ~connection() override;
  void begin();
  /// Closes the connection if it is past its deadline.
  void sweep(std::chrono::steady_clock::time_point now);
  /// The server stops: idle connections and endless answers end now, others after their answer.
  void drain();
  void close() { transport_->close(); }

  ask_port& port() override;
  awaitable<result<std::string>> read_body(size_t limit) override;
  void pump_body(std::shared_ptr<byte_channel> into) override;
  awaitable<bool> start(response head) override;
  awaitable<bool> write(std::string_view data) override;
  awaitable<result<void>> copy(std::shared_ptr<byte_channel> from) override;
  void on_gone(std::function<void()> callback) override;
  awaitable<void> begin_hijack(std::string head) override;
  awaitable<void> run_hijacked(stream s) override;

 private:
  using clock = std::chrono::steady_clock;
  enum class phase : uint8_t { idle, header, working, endless };

  awaitable<void> run();
  awaitable<bool> serve();
  awaitable<bool> read_header();
  awaitable<void> refuse(request_parser::refusal why);
  awaitable<bool> send(const response& r);
  awaitable<bool> finish(const response& r);
  awaitable<bool> discard_body(bool wait);
  awaitable<void> linger(std::chrono::milliseconds most);

  awaitable<bool> fill(size_t wanted);
  awaitable<bool> send_continue();
  awaitable<bool> write_parts(std::span<const std::string_view> parts);
  awaitable<bool> write_batch(const batch& data, bool chunked);

  awaitable<void> watch();
  void gone();
  awaitable<void> pump(std::shared_ptr<byte_channel> into);
  awaitable<void> pump_input(std::shared_ptr<byte_channel> into);
  awaitable<void> abort_on_hangup(std::shared_ptr<byte_channel> output);
  void wake_pump_by(byte_channel& channel);
  awaitable<bool> push(byte_channel& into, std::string data);

  void deadline_in(std::chrono::milliseconds time) { deadline_ = clock::now() + time; }
  void no_deadline() { deadline_ = clock::time_point::max(); }
  const limits& bounds() const { return home_.server.bounds; }

  shard& home_;
  std::unique_ptr<transport> transport_;
  input_buffer input_;
  bool reading_ = false, input_ended_ = false;
  uint64_t reads_ = 0;
  signal read_done_;
  clock::time_point deadline_ = clock::time_point::max();

  // Of the current request.
  std::optional<request_parser> parser_;
  phase phase_ = phase::idle;
  bool keep_ = true, expects_continue_ = false;
  bool started_ = false, chunked_ = false, hijacked_ = false, head_sent_ = false;
  int sent_status_ = 0;
  bool watching_ = false, watch_wanted_ = false, gone_ = false;
  std::vector<std::function<void()>> on_gone_;
  bool pumping_ = false, pump_stop_ = false, pump_ready_ = false;
  signal pump_wake_, pump_ended_;
};

}  // namespace arca::http
