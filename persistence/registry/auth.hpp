// Who asks: credentials from X-Registry-Auth, and what a registry demands in WWW-Authenticate.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace arca::registry {

struct credentials {
  std::string username, password, identity_token, registry_token, server_address;
  bool empty() const noexcept { return username.empty() && identity_token.empty() && registry_token.empty(); }
};

/// JSON of X-Registry-Auth, decoded. Nonsense gives empty credentials, as Docker treats it for pulls.
credentials parse_credentials(const std::string& json_text);
/// May these be shown to the registry of `domain` ("docker.io")? A server address for another host forbids it.
bool meant_for(const credentials& c, const std::string& domain);

struct challenge {
  std::string scheme;                             ///< lower case: "basic", "bearer"
  std::map<std::string, std::string> parameters;  ///< names in lower case
};
/// All challenges of the given header values; malformed ones are left out.
std::vector<challenge> parse_challenges(const std::vector<std::string>& headers);

/// "Basic …" for an Authorization header.
std::string basic_header(const credentials& c);

}  // namespace arca::registry
