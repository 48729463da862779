// A connection of the daemon for the bytes of one process: a socket (namespace machines), or a call StdioStream.Open
// (VMs, where a socket in between would cost two copies more). All on the loop.
#pragma once
#include <functional>

#include "guest/loop.hpp"
#include "guest/outgoing.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {

class stdio_connection {
 public:
  /// `readable`: receive() has something to say, the end included. `writable`: send() takes bytes again.
  using ready = std::function<void(bool readable, bool writable)>;

  stdio_connection() = default;
  stdio_connection(const stdio_connection&) = delete;
  stdio_connection& operator=(const stdio_connection&) = delete;
  /// Ends it. May happen within `tell` and `ended`.
  virtual ~stdio_connection() = default;

  /// Nobody reads yet: only the end is told.
  virtual void await_end(std::function<void()> ended) = 0;
  /// From now on, instead of that.
  virtual void begin(ready tell) = 0;
  /// How many bytes were taken. 0: none now, `writable` will be told. Negative: it is over. `last`: with them all has
  /// been said, and nothing that may come matters: the connection may end.
  virtual ssize_t send(const outgoing* parts, size_t count, bool last) = 0;
  /// How many bytes have come. 0: none now. Negative: it is over.
  virtual ssize_t receive(char* into, size_t room) = 0;
};

class stdio_socket final : public stdio_connection {
 public:
  stdio_socket(loop& on, unique_fd socket);
  ~stdio_socket() override;

  void await_end(std::function<void()> ended) override;
  void begin(ready tell) override;
  ssize_t send(const outgoing* parts, size_t count, bool last) override;
  ssize_t receive(char* into, size_t room) override;

 private:
  loop& loop_;
  unique_fd socket_;
  ready tell_;
};

}  // namespace arca::guest
