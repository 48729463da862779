// What can go wrong between the engine and a registry, with what the caller must know to go on: is it worth another
// attempt, another endpoint, and which of the distribution protocol's error codes it was.
#pragma once
#include <string>
#include <tl/expected.hpp>

#include "persistence/base/error.hpp"
#include "persistence/registry/reference.hpp"

namespace arca::registry {

struct failure {
  error what;              ///< in Docker's words
  std::string code;        ///< "MANIFEST_UNKNOWN", "DENIED" … of the protocol; empty: another kind of failure
  bool transport = false;  ///< no complete HTTP answer was received
  bool retry = false;      ///< may go away by itself (reset, stall, 429, 5xx)
  bool stalled = false;    ///< nothing came for too long: not worth many attempts
  bool final = false;      ///< no other endpoint will do better (cancelled, refused by a rule of ours)
  int retry_after = 0;     ///< seconds the registry asked for; 0: it did not
};

template <class T>
using outcome = tl::expected<T, failure>;

inline tl::unexpected<failure> fail(failure f) {
  return tl::unexpected<failure>(std::move(f));
}
/// A failure that another attempt will not mend.
inline tl::unexpected<failure> give_up(errc code, std::string message) {
  failure f;
  f.what = error(code, std::move(message));
  f.final = true;
  return tl::unexpected<failure>(std::move(f));
}
inline tl::unexpected<failure> cancelled() {
  return give_up(errc::cancelled, "context canceled");
}

/// What docker pull of `ref` says: "manifest for X not found: manifest unknown: manifest unknown", "pull access denied
/// for X, repository does not exist or may require 'docker login': denied: …", else the failure's own text.
error pull_error(const failure& f, const reference& ref);

}  // namespace arca::registry
