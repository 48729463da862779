// One HTTP request and its answer, connections kept for the next ones. No redirects, no authentication: client.cpp.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "persistence/registry/connection.hpp"

namespace arca::registry {

struct http_request {
  std::string method = "GET";
  url to;
  std::vector<std::pair<std::string, std::string>> headers;  ///< Host, User-Agent and Content-Length are added
  std::string body;
};

/// An answer whose body is read as it comes. Must not outlive its http_pool.
class http_response {
 public:
  virtual ~http_response() = default;
  virtual int status() const noexcept = 0;
  virtual std::string status_text() const = 0;  ///< "404 Not Found"
  /// The first such header; empty if there is none.
  virtual std::string header(std::string_view name) const = 0;
  virtual std::vector<std::string> headers(std::string_view name) const = 0;
  /// The announced length of the body, -1 when there is none.
  virtual int64_t content_length() const noexcept = 0;
  /// The next piece of the body, valid until the next call; empty at its end. A body that ends too early is a failure
  /// ("unexpected EOF", retry).
  virtual outcome<std::string_view> read() = 0;
  /// Where the answer came from.
  virtual reach peer() const noexcept = 0;
  /// The whole body; errc::invalid_argument when it is longer than `limit`.
  outcome<std::string> read_all(size_t limit);
};

/// Connections by origin. Thread-safe; cancelled by the signal, which must outlive it.
class http_pool {
 public:
  http_pool(std::string user_agent, const stop_signal& stop);
  ~http_pool();
  /// Failures of the transport carry Go's text: Get "http://h/v2/": dial tcp …
  outcome<std::unique_ptr<http_response>> send(const http_request& request, const dial_options& options);
  const stop_signal& stop() const noexcept { return stop_; }

  void keep(const url& origin, std::unique_ptr<connection> c);

 private:
  std::unique_ptr<connection> take(const url& origin);
  const std::string user_agent_;
  const stop_signal& stop_;
  std::mutex lock_;
  std::multimap<std::string, std::unique_ptr<connection>> idle_;
};

/// The text of an error as Go's http client writes it: Get "http://h/v2/": WHY
failure in_request(const http_request& request, failure why);

}  // namespace arca::registry
