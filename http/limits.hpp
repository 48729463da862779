// Bounds that a client cannot exceed.
#pragma once
#include <chrono>
#include <cstddef>

namespace arca::http {

struct limits {
  size_t header_bytes = 256u << 10;  ///< Docker takes 1 MiB; all connections together are bounded here
  std::chrono::milliseconds header_time =
      std::chrono::seconds(60);                                     ///< from the first byte (or the accept) to the last
  std::chrono::milliseconds body_stall = std::chrono::seconds(60);  ///< longest pause inside a JSON body
  std::chrono::milliseconds linger = std::chrono::seconds(30);      ///< for the client to close after a hijacked stream
  size_t max_connections = 4096;                                    ///< more wait in the kernel's backlog
};

}  // namespace arca::http
