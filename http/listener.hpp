// Where the server listens: from settings to bound sockets.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "persistence/base/config.hpp"
#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::http {

struct listener {
  std::string path;   ///< unix socket; empty: TCP
  std::string host;   ///< TCP: address or name; empty: every address
  uint16_t port = 0;  ///< 0: any free one
  bool tls = false;
  bool allow_insecure = false;  ///< plain TCP on an address that is not loopback
};

/// The socket of the settings and their `hosts`: "unix:///path", "tcp://host[:port]" (2375, with TLS 2376).
/// errc::invalid_argument names the host that cannot be understood.
result<std::vector<listener>> listeners_of(const settings& config);

struct bound_socket {
  unique_fd fd;  ///< listening, non-blocking
  int family = 0;
  std::string address;  ///< "unix:///run/arca.sock", "tcp://127.0.0.1:2375"
  std::string path;     ///< to remove when the server stops
  bool tls = false;
};

/// A unix socket gets mode 0660 and the group docker, else arca, where there is one; a stale file is replaced, one that
/// somebody listens on is errc::conflict. Plain TCP on an address that is not loopback is errc::invalid_argument unless
/// it is allowed.
result<std::vector<bound_socket>> bind_all(const std::vector<listener>& listeners);

}  // namespace arca::http
