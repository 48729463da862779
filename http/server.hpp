// The HTTP server: listeners, io threads, connections. The daemon starts it with an engine; tests with routes of their
// own.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "http/limits.hpp"
#include "http/listener.hpp"
#include "http/router.hpp"

namespace caf {
class actor_system;
}
namespace arca {
class engine;
}

namespace arca::http {

struct server_options {
  size_t threads = 2;
  limits bounds;
  std::string tls_certificate, tls_key, tls_ca;  ///< for listeners with tls
  bool tls_verify = false;                       ///< clients must show a certificate signed by tls_ca
};

class server {
 public:
  /// Docker's API of this engine, on these listeners; TLS files and limits from the engine's settings. The engine must
  /// outlive the server.
  static result<std::unique_ptr<server>> start(engine& e, const std::vector<listener>& listeners);

  /// The same with any routes. `routes` and `handed_through` must outlive the server. Without `system` handlers cannot
  /// ask.
  static result<std::unique_ptr<server>> start(const server_options& options, const std::vector<listener>& listeners,
                                               const router& routes, services* handed_through,
                                               caf::actor_system* system);

  /// Stops accepting, ends idle connections and endless answers (logs, events, attach), lets others finish for at most
  /// `grace`, then closes them. Called once; the destructor calls it with no grace.
  void stop(std::chrono::milliseconds grace);
  ~server();

  const std::vector<std::string>& addresses() const;  ///< as bound, "tcp://127.0.0.1:40123"
  size_t connections() const;

 private:
  server();
  void keep(std::shared_ptr<void> until_stopped) { kept_ = std::move(until_stopped); }
  struct impl;
  std::shared_ptr<void> kept_;
  std::unique_ptr<impl> impl_;
};

}  // namespace arca::http
