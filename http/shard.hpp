// What the connections of one server share, and what those of one io thread share.
#pragma once
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <unordered_set>

#include "http/exchange.hpp"
#include "http/router.hpp"

namespace arca::http {

/// Bounds that a client cannot exceed.
struct limits {
  size_t header_bytes = 64u << 10;
  std::chrono::milliseconds header_time = std::chrono::seconds(60);  ///< from the first byte (or the accept) to the last
  std::chrono::milliseconds body_stall = std::chrono::seconds(60);   ///< longest pause inside a JSON body
  std::chrono::milliseconds linger = std::chrono::seconds(30);       ///< for the client to close after a hijacked stream
  size_t max_connections = 4096;                                     ///< more wait in the kernel's backlog
};

class connection;

struct server_state {
  const router* routes = nullptr;
  services* handed_through = nullptr;
  limits bounds;
  std::atomic<size_t> connections{0};
  std::atomic<uint64_t> last_request{0};
  std::atomic<bool> stopping{false};
};

/// One io thread. Everything but `io` is used on that thread only.
struct shard {
  explicit shard(server_state& s);
  ~shard();
  server_state& server;
  boost::asio::io_context io{1};
  std::unique_ptr<ask_port> port;  ///< null in tests without an engine
  std::unordered_set<connection*> connections;
  bool sweeping = false;
  int64_t date_second = 0;
  std::string date;

  const std::string& date_now();
};

}  // namespace arca::http
