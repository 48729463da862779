// Talks the OCI distribution protocol to the registry of one repository: which endpoints there are (mirrors, the
// origin, plain http where it is allowed), who we are (anonymous, basic, bearer token), redirects, retries, resuming.
// Blocking; cancelled by the signal. Everything that arrives is bounded and checked against the digest it was asked by.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/config.hpp"
#include "persistence/registry/auth.hpp"
#include "persistence/registry/failure.hpp"
#include "persistence/registry/manifest.hpp"
#include "persistence/registry/reference.hpp"
#include "persistence/registry/stop_signal.hpp"

namespace arca::registry {

struct client_options {
  std::map<std::string, registry_settings> registries;  ///< settings::registries
  std::vector<std::string> certificate_roots = {"/etc/docker/certs.d",
                                                "/etc/arca/certs.d"};  ///< with HOST[:PORT]/*.crt
  std::string user_agent = "arca";
  std::chrono::milliseconds connect_timeout{30'000};
  std::chrono::milliseconds stall_timeout{30'000};  ///< without a byte
  std::chrono::milliseconds first_delay{500};       ///< before the second attempt, doubling
  int attempts = 5;                                 ///< of one request; of a blob: without a byte between them
};

struct manifest_text {
  std::string media_type, digest, body;
};

/// Thread-safe after construction.
class repository {
 public:
  /// `name` without tag and digest matters. `stop` must outlive this.
  repository(client_options options, const reference& name, credentials who, const stop_signal& stop);
  ~repository();
  repository(const repository&) = delete;
  repository& operator=(const repository&) = delete;

  /// What a tag (or digest) names now. Tries the endpoints in order; the first that answers serves what follows.
  outcome<descriptor> resolve(const std::string& tag_or_digest);
  /// The manifest or index itself, its digest checked.
  outcome<manifest_text> manifest(const std::string& digest);
  outcome<std::vector<std::string>> tags();
  /// A small blob (an image config), checked.
  outcome<std::string> blob_text(const descriptor& d);

  using sink = std::function<result<void>(std::string_view)>;
  using on_retry = std::function<void(int seconds)>;  ///< called once a second while it waits for the next attempt
  /// A blob's bytes in order, each once, whatever breaks in between. Its length is checked here, its digest by the
  /// caller. An error of the sink ends it.
  outcome<void> blob(const descriptor& d, const sink& into, const on_retry& retrying = {});

 private:
  struct impl;
  std::unique_ptr<impl> self_;
};

}  // namespace arca::registry
