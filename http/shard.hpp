// What the connections of one server share, and what those of one io thread share.
#pragma once
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <unordered_set>

#include "http/exchange.hpp"
#include "http/limits.hpp"
#include "http/router.hpp"

namespace arca::http {

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
  std::unordered_set<connection*> connections;  ///< outlives io and port, whose ends destroy connections
  boost::asio::io_context io{1};
  std::unique_ptr<ask_port> port;  ///< null in tests without an engine
  bool sweeping = false;
  int64_t date_second = 0;
  std::string date;

  const std::string& date_now();
};

}  // namespace arca::http
