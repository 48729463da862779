// One place where a repository can be had: a mirror, the registry over https, or over http where that is allowed; with
// what this place demands of a caller.
#pragma once
#include <chrono>
#include <mutex>
#include <optional>

#include "persistence/registry/client.hpp"
#include "persistence/registry/http.hpp"

namespace arca::registry {

struct endpoint {
  url base;  ///< target is the prefix, ends with "/"
  bool mirror = false;
  tls_options tls;
  credentials who;  ///< empty for mirrors

  // Set by the first contact.
  bool contacted = false;
  reach where = reach::none;
  std::vector<challenge> challenges;
  std::string token;
  std::chrono::steady_clock::time_point token_end;
};

/// In the order they are tried. errc::invalid_argument: a mirror's URL is malformed.
result<std::vector<endpoint>> endpoints_of(const client_options& options, const reference& name,
                                           const credentials& who);

/// TLS settings for a host: folders HOST:PORT below the certificate roots, ca_dir of the settings.
tls_options tls_for(const client_options& options, const url& to);

/// Remembers which scheme an insecure registry answered to, so that the next pull asks that way first.
void remember_scheme(const std::string& authority, const std::string& scheme);

/// Requests to the endpoints of one repository: first contact, authorization, redirects, repetition.
class requester {
 public:
  requester(client_options options, reference name, credentials who, const stop_signal& stop);

  struct ask {
    std::string method = "GET", path;  ///< path: below "/v2/"
    std::vector<std::pair<std::string, std::string>> headers;
  };
  /// The answer, of any status but those that mean "later" (429, 5xx), after as many attempts as the options say.
  outcome<std::unique_ptr<http_response>> send(endpoint& at, const ask& what);
  /// One attempt.
  outcome<std::unique_ptr<http_response>> send_once(endpoint& at, const ask& what);
  /// GET /v2/ if it was not done: is anybody there, and what does it demand.
  outcome<void> contact(endpoint& at);
  /// Sleeps before attempt `number` (2, 3 …); cancelled when the signal comes.
  outcome<void> pause(int number, const failure& last, const repository::on_retry& retrying = {});

  const client_options options;
  const reference name;
  std::vector<endpoint> endpoints;
  std::optional<error> broken;  ///< the endpoints could not be made

 private:
  outcome<std::unique_ptr<http_response>> follow(endpoint& at, http_request request);
  outcome<std::string> authorization(endpoint& at, const http_request& request);
  outcome<std::string> fetch_token(endpoint& at, const challenge& c);
  dial_options dialing(const url& to, reach nearest) const;

  const stop_signal& stop_;
  http_pool pool_;
  std::mutex lock_;  ///< of what contact and tokens change in endpoints
};

}  // namespace arca::registry
