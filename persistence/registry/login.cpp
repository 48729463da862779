#include "persistence/registry/login.hpp"

#include "persistence/registry/endpoint.hpp"

namespace arca::registry {
namespace {

// The host that a server address names, as people write it: with a scheme, a path, or nothing at all.
std::string host_of(std::string_view server) {
  if (const auto scheme = server.find("://"); scheme != std::string_view::npos) server.remove_prefix(scheme + 3);
  server = server.substr(0, server.find('/'));
  return server.empty() || server == "index.docker.io" ? "docker.io" : std::string(server);
}

}  // namespace

result<void> check_login(client_options options, const std::string& server, credentials who, const stop_signal& stop) {
  // Tokens are given for a repository; which one does not matter.
  ARCA_TRY(name, reference::parse(host_of(server) + "/library/login"));
  who.server_address.clear();
  options.attempts = 1;
  requester registry(std::move(options), name, std::move(who), stop);
  if (registry.broken) return fail(*registry.broken);
  error last(errc::internal, "no registry to log in to");
  for (auto& at : registry.endpoints) {
    if (at.mirror) continue;
    if (auto reached = registry.contact(at); !reached) {
      last = reached.error().what;
      continue;
    }
    auto answer = registry.send_once(at, {});
    if (!answer) return fail(answer.error().what);
    if ((*answer)->status() == 200) return {};
    return fail(errc::internal,
                "login attempt to " + at.base.string() + "v2/ failed with status: " + (*answer)->status_text());
  }
  return fail(std::move(last));
}

}  // namespace arca::registry
