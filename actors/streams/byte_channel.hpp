// A bounded channel of bytes between a producer on any thread and an Asio coroutine (or the reverse with a blocking
// reader). Bulk data never passes a mailbox: a message names a stream by its id, the bytes go here.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/error_code.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca {

using chunk = std::shared_ptr<const std::string>;  ///< immutable: fan-out costs no copy
using batch = std::vector<chunk>;

/// One producer, one consumer. The producer never blocks in push(); it learns that the window is full and stops until
/// on_writable is called once. close() is end of data, with an error when the producer failed. abort() is the consumer
/// going away: further pushes answer closed and on_abort is called once.
class byte_channel : public std::enable_shared_from_this<byte_channel> {
 public:
  enum class push_result : uint8_t { more, full, closed };
  explicit byte_channel(size_t window = 1u << 20) : window_(window) {}

  // ---- producer
  void on_writable(std::function<void()> callback);
  void on_abort(std::function<void()> callback);
  push_result push(chunk data);
  push_result push(std::string data) { return push(std::make_shared<const std::string>(std::move(data))); }
  /// For producers that are threads: waits while the window is full. False when the consumer is gone.
  bool push_blocking(std::string data);
  void close();
  void close(error why);
  bool aborted() const;

  // ---- consumer
  /// Everything queued, at least one chunk; an empty batch is the end (then failure() tells why, if it was one).
  template <class Token = boost::asio::use_awaitable_t<>>
  auto read(Token token = {}) {
    return boost::asio::async_initiate<Token, void(boost::system::error_code, batch)>(
        [self = shared_from_this()]<class H>(H&& handler) { self->start_read(std::forward<H>(handler)); }, token);
  }
  /// For consumers that are threads.
  batch read_blocking();
  /// For consumers with an event loop of their own: `callback` gets what read() would give, once, on the thread that
  /// pushes (or at once on the caller's, when there is something): it must only hand the batch over.
  void receive(std::function<void(batch)> callback);
  void abort();
  std::optional<error> failure() const;
  size_t queued() const;

 private:
  struct waiter {
    virtual void fire(boost::system::error_code, batch) = 0;
    virtual ~waiter() = default;
  };
  template <class H>
  void start_read(H&& handler) {
    namespace asio = boost::asio;
    using handler_type = std::decay_t<H>;
    struct impl final : waiter {
      explicit impl(handler_type h)
          : handler(std::move(h)),
            executor(asio::get_associated_executor(handler)),
            work(asio::prefer(executor, asio::execution::outstanding_work.tracked)) {}
      // The work goes along: once the handler has run, its io_context may end before this thread goes on.
      void fire(boost::system::error_code ec, batch data) override {
        asio::post(executor, [w = std::move(work), h = std::move(handler), ec, d = std::move(data)]() mutable {
          std::move(h)(ec, std::move(d));
        });
      }
      handler_type handler;
      asio::associated_executor_t<handler_type> executor;
      decltype(asio::prefer(executor, asio::execution::outstanding_work.tracked)) work;
    };
    wait_or_fire(std::make_unique<impl>(std::forward<H>(handler)));
  }
  void wait_or_fire(std::unique_ptr<waiter> reader);
  batch take(std::function<void()>& credit);
  void wake(std::unique_lock<std::mutex>& guard);
  void close_with(std::optional<error> why);

  mutable std::mutex lock_;
  std::condition_variable changed_;
  batch queue_;
  size_t bytes_ = 0, window_;
  bool closed_ = false, aborted_ = false, producer_waits_ = false;
  std::optional<error> failure_;
  std::unique_ptr<waiter> reader_;
  std::function<void()> on_writable_, on_abort_;
};

/// What a stream id names: bytes from the engine to the client, and for attach, load … from the client to the engine.
struct stream {
  std::shared_ptr<byte_channel> output;  ///< engine → client; may be null
  std::shared_ptr<byte_channel> input;   ///< client → engine; may be null
};

/// Thread-safe; a stream that nobody takes within 60 s is aborted and dropped.
class stream_registry {
 public:
  stream_registry();
  ~stream_registry();
  uint64_t put(stream s);
  std::optional<stream> take(uint64_t id);  ///< once
  size_t waiting() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace arca
