// docker login: does a registry take these credentials?
#pragma once
#include <string>

#include "persistence/registry/client.hpp"

namespace arca::registry {

/// `server` as in X-Registry-Auth: "host[:port]", a URL, or empty for Docker Hub. One attempt. Blocks; cancelled by the
/// signal. errc::internal or errc::unauthorized in Docker's words: "login attempt to URL failed with status: 401
/// Unauthorized", "Get "URL": no basic auth credentials", "Get "URL": dial tcp …".
result<void> check_login(client_options options, const std::string& server, credentials who, const stop_signal& stop);

}  // namespace arca::registry
