// A connected byte stream: unix or TCP socket, plain or TLS. Everything above it is compiled once for all of them.
// Used on the thread of its io_context only.
#pragma once
#include <sys/types.h>

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace boost::asio {
class io_context;
}

namespace arca::http {

template <class T>
using awaitable = boost::asio::awaitable<T>;

class transport {
 public:
  virtual ~transport() = default;
  /// TLS: the handshake; plain: true at once.
  virtual awaitable<bool> handshake() = 0;
  /// Bytes read, at least one; 0 at the end of input; -1 when the connection is broken or was closed.
  virtual awaitable<ssize_t> read_some(char* into, size_t size) = 0;
  /// Writes what the kernel takes at once without waiting; the number of bytes, 0 also on failure (write() will see
  /// it).
  virtual size_t try_write(std::span<const std::string_view> parts) = 0;
  /// All of it. False: broken. One writer at a time.
  virtual awaitable<bool> write(std::span<const std::string_view> parts) = 0;
  /// End of our output (shutdown(SHUT_WR); TLS: close_notify too); input goes on.
  virtual awaitable<void> finish_writing() = 0;
  /// Returns when the peer has hung up both ways or the connection broke. A peer that only stopped writing does not
  /// count.
  virtual awaitable<void> wait_hangup() = 0;
  /// Every operation that waits ends with a failure. May be called again.
  virtual void close() = 0;
};

/// TLS settings of a listener, shared by its connections.
class tls_context {
 public:
  /// With `verify`, clients must show a certificate signed by `ca`. Errors name the file.
  static result<std::shared_ptr<tls_context>> make(const std::string& certificate, const std::string& key,
                                                   const std::string& ca, bool verify);
  ~tls_context();
  void* native() const { return native_; }

 private:
  tls_context() = default;
  void* native_ = nullptr;  // SSL_CTX
};

/// Takes over a connected, non-blocking socket. `tls` null: plain.
std::unique_ptr<transport> make_transport(boost::asio::io_context& io, unique_fd socket, int family,
                                          const std::shared_ptr<tls_context>& tls);

}  // namespace arca::http
