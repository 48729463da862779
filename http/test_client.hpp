// A blocking HTTP/1.1 client that shows what is on the wire; for tests only.
#pragma once
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "persistence/base/unique_fd.hpp"

namespace arca::http::test {

struct answer {
  int status = 0;
  std::string head, body;  ///< head with status line and all fields
  bool chunked = false, complete = false;
  std::string field(std::string_view name) const;
};

class client {
 public:
  /// "unix:///path" or "tcp://127.0.0.1:port".
  explicit client(const std::string& address);
  void send(std::string_view bytes) const;
  void half_close() const;
  void hang_up() { fd_.reset(); }
  int fd() const { return fd_.get(); }
  /// One answer; `to_head` as for HEAD requests. Status 0 when the connection ended or 10 s passed.
  answer receive(bool to_head = false);
  answer request(std::string_view bytes) { return send(bytes), receive(bytes.starts_with("HEAD ")); }
  /// Everything until EOF (or 10 s): what is behind the answers that were taken.
  std::string rest();
  /// Waits for `text` to arrive; false after 10 s or at EOF.
  bool wait_for(std::string_view text);
  std::string buffered;

 private:
  bool more();
  unique_fd fd_;
};

}  // namespace arca::http::test
