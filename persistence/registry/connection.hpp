// One TCP or TLS connection with timeouts that can be cancelled: blocking calls for threads of their own.
#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "persistence/registry/failure.hpp"
#include "persistence/registry/stop_signal.hpp"
#include "persistence/registry/url.hpp"

namespace arca::registry {

struct tls_options {
  bool verify = true;
  std::vector<std::string> folders;  ///< of *.crt (trusted authorities) and *.cert with *.key (for client certificates)
};

struct dial_options {
  std::chrono::milliseconds connect_timeout{30'000};
  std::chrono::milliseconds stall_timeout{30'000};  ///< without a byte in either direction
  tls_options tls;
  reach nearest = reach::link_local;  ///< addresses that are nearer than this are refused (threat: forged redirects)
};

class connection {
 public:
  virtual ~connection() = default;
  /// Bytes read, 0 at the end of the stream.
  virtual outcome<size_t> read_some(void* data, size_t size) = 0;
  virtual outcome<void> write_all(std::string_view data) = 0;
  /// Where the other end is.
  virtual reach peer() const noexcept = 0;
  /// Nothing has arrived that nobody waits for, and the other end has not closed: fit for another request.
  virtual bool idle() const noexcept = 0;
};

/// Resolves, connects and, for https, shakes hands. Failures have Go's texts ("dial tcp 127.0.0.1:1: connect:
/// connection refused"); transport is true.
outcome<std::unique_ptr<connection>> dial(const url& to, const dial_options& options, const stop_signal& stop);

}  // namespace arca::registry
