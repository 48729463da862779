// One request and its answer as handlers see them. No Beast, no sockets: connection.cpp implements `call`.
// A handler is a coroutine from a call to a response. Long answers are sent through the call (start, write, copy,
// hijack) and end with `co_return response::sent()`.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "actors/model/api_version.hpp"
#include "http/query.hpp"
#include "persistence/base/error.hpp"

namespace arca {
class ask_port;
class byte_channel;
struct stream;
}  // namespace arca

namespace arca::http {

template <class T>
using awaitable = boost::asio::awaitable<T>;

struct services;  // what handlers need; http/handlers/services.hpp. The server only hands it through.

struct field {
  std::string name, value;
};

/// Header fields in the order of their arrival; names are compared without case.
class fields {
 public:
  void add(std::string_view name, std::string_view value) { list_.push_back({std::string(name), std::string(value)}); }
  std::string_view get(std::string_view name) const;  ///< the first one's value, or empty
  bool has(std::string_view name) const;
  void clear() { list_.clear(); }

 private:
  std::vector<field> list_;
};

struct request {
  std::string method, target;  ///< as received
  std::string path;            ///< decoded, without the version prefix
  std::string param;           ///< what the {name} of the route's pattern stands for
  std::string query_text;      ///< behind "?", not decoded
  query_values query;
  model::api_version version;  ///< the newest without a prefix
  fields headers;
  int64_t content_length = 0;  ///< -1: chunked, length unknown
  uint64_t id = 0;             ///< for the log
  bool wants_upgrade() const { return headers.has("Upgrade"); }
};

struct response {
  enum class standard : uint8_t { all, no_experimental, none };  ///< which of Docker's own headers it has
  int status = 200;
  std::string content_type;  ///< empty: no header
  std::string body;
  std::vector<field> headers;
  standard docker_headers = standard::all;
  bool already_sent = false, cut_off = false;

  static response json(int status, std::string text);  ///< ends the text with a line feed, as Docker does
  static response text(int status, std::string text);  ///< text/plain; charset=utf-8
  static response empty(int status);
  static response sent();    ///< the handler has started and filled a chunked answer
  static response broken();  ///< the same, but the client must see that it is not complete
};

class call {
 public:
  virtual ~call() = default;
  request req;
  services* services_of_server = nullptr;
  std::chrono::milliseconds deadline{0};  ///< of the route, for ask; 0: none

  /// The port of this connection's io thread.
  virtual ask_port& port() = 0;

  /// The whole body. Over `limit`: errc::invalid_argument. A client that goes away in the middle: errc::cancelled.
  virtual awaitable<result<std::string>> read_body(size_t limit) = 0;
  /// Streams the body into the channel and closes it; a client that goes away closes it with an error. Runs beside the
  /// handler; the answer is not finished before it has ended. The consumer may abort the channel at any time.
  virtual void pump_body(std::shared_ptr<byte_channel> into) = 0;

  /// Begins a chunked answer; its header is on the wire when this returns. `head.body` is not used.
  virtual awaitable<bool> start(response head) = 0;
  /// One chunk. False: the client has gone.
  virtual awaitable<bool> write(std::string_view data) = 0;
  /// Everything from the channel as chunks until its end. When the client goes away the channel is aborted. Answers why
  /// the producer failed, if it did.
  virtual awaitable<result<void>> copy(std::shared_ptr<byte_channel> from) = 0;
  /// `callback` is called once, on this io thread, if the client goes away before the answer is finished.
  virtual void on_gone(std::function<void()> callback) = 0;

  /// Takes the connection out of HTTP: sends `head` (status line, headers, empty line, and what may follow it). The
  /// request's own body is dropped: it is no input of the stream.
  virtual awaitable<void> begin_hijack(std::string head) = 0;
  /// Then: moves bytes both ways until the output ends. EOF from the client only closes the input; a client that hangs
  /// up aborts both. A stream without channels just ends.
  virtual awaitable<void> run_hijacked(stream s) = 0;
  /// Both.
  awaitable<void> hijack(std::string head, stream s);
};

using handler = awaitable<response> (*)(call&);

}  // namespace arca::http
