// A socket of this host behind which is one inside a machine: each connection gets a tunnel. For an embedder that wants
// to talk to a service of its container.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::vm {

class published_socket {
 public:
  static constexpr size_t most_connections = 128;  ///< more wait in the backlog

  /// Makes the tunnel for a connection, which is then its own; calls `over` once when that is over. Must not block.
  using open_tunnel = std::function<void(unique_fd connection, std::function<void()> over)>;

  /// Listens at `path` (absolute, nothing may be there yet), mode 0600, until it is destroyed; the file goes then.
  static result<std::unique_ptr<published_socket>> listen(const std::string& path, open_tunnel open);
  published_socket(const published_socket&) = delete;
  published_socket& operator=(const published_socket&) = delete;
  /// Connections that are open go on.
  ~published_socket();

 private:
  struct state;
  explicit published_socket(std::shared_ptr<state> s) : state_(std::move(s)) {}
  std::shared_ptr<state> state_;
};

}  // namespace arca::vm
