#include <algorithm>
#include <nlohmann/json.hpp>

#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "persistence/registry/answer.hpp"
#include "persistence/registry/endpoint.hpp"

namespace arca::registry {
namespace {
constexpr int max_redirects = 5;
constexpr int max_pause_seconds = 60;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// A registry on a public address must not send us to a near one; a near one may name its neighbours, link-local
// addresses (cloud metadata) only when it lives there itself.
reach allowed_from(reach registry) {
  if (registry == reach::global) return reach::global;
  return registry == reach::link_local ? reach::link_local : reach::loopback;
}
}  // namespace

requester::requester(client_options o, reference n, credentials who, const stop_signal& stop)
    : options(std::move(o)), name(std::move(n)), stop_(stop), pool_(options.user_agent, stop) {
  auto made = endpoints_of(options, name, who);
  if (made)
    endpoints = std::move(*made);
  else
    broken = made.error();
}

dial_options requester::dialing(const url& to, reach nearest) const {
  dial_options out;
  out.connect_timeout = options.connect_timeout;
  out.stall_timeout = options.stall_timeout;
  out.tls = tls_for(options, to);
  out.nearest = nearest;
  return out;
}

outcome<void> requester::contact(endpoint& at) {
  const std::lock_guard guard(lock_);
  if (at.contacted) return {};
  http_request ping;
  ping.to = at.base;
  ping.to.target += "v2/";
  auto answer = pool_.send(ping, dialing(ping.to, reach::link_local));
  if (!answer) return tl::make_unexpected(answer.error());
  at.where = (*answer)->peer();
  if ((*answer)->status() == 401) at.challenges = parse_challenges((*answer)->headers("WWW-Authenticate"));
  if (auto rest = (*answer)->read_all(max_document); !rest && rest.error().what.code() == errc::cancelled)
    return tl::make_unexpected(rest.error());
  at.contacted = true;
  if (!at.tls.verify && !at.mirror) remember_scheme(at.base.authority(), at.base.scheme);
  return {};
}

outcome<void> requester::pause(int number, const failure& last, const repository::on_retry& retrying) {
  auto wait = options.first_delay * (1 << std::min(number - 2, 6));
  if (last.retry_after > 0) wait = std::chrono::seconds(std::min(last.retry_after, max_pause_seconds));
  log::debug("registry request is repeated", log::kv("attempt", number), log::kv("error", last.what.message()));
  while (wait.count() > 0) {
    if (retrying && wait >= std::chrono::seconds(1)) retrying(static_cast<int>(wait.count() / 1000));
    const auto step = std::min<std::chrono::milliseconds>(wait, std::chrono::seconds(1));
    if (!stop_.sleep_ms(static_cast<int>(step.count()))) return cancelled();
    wait -= step;
  }
  return {};
}

outcome<std::unique_ptr<http_response>> requester::send(endpoint& at, const ask& what) {
  for (int attempt = 1;; ++attempt) {
    auto answer = send_once(at, what);
    failure why;
    if (answer) {
      const int status = (*answer)->status();
      if (status != 429 && status < 500) return answer;
      why = answer_failure(**answer);
    } else {
      why = answer.error();
    }
    const int limit = why.stalled ? std::min(options.attempts, 2) : options.attempts;
    if (!why.retry || why.final || attempt >= limit) return fail(std::move(why));
    if (auto slept = pause(attempt + 1, why); !slept) return tl::make_unexpected(slept.error());
  }
}

outcome<std::unique_ptr<http_response>> requester::send_once(endpoint& at, const ask& what) {
  http_request request;
  request.method = what.method;
  request.to = at.base;
  request.to.target += "v2/" + what.path;
  request.headers = what.headers;
  auto answer = follow(at, request);
  if (!answer || (*answer)->status() != 401) return answer;
  // The token ran out, or this path demands another than "/v2/" did: once more with what is asked for now.
  const auto asked = parse_challenges((*answer)->headers("WWW-Authenticate"));
  const bool bearer = std::any_of(asked.begin(), asked.end(), [](const challenge& c) { return c.scheme == "bearer"; });
  {
    const std::lock_guard guard(lock_);
    const bool news = at.challenges.empty() && !asked.empty();
    const bool stale =
        bearer && !at.token.empty() && std::chrono::steady_clock::now() + std::chrono::seconds(5) > at.token_end;
    if (!news && !stale) return answer;
    at.challenges = asked;
    at.token.clear();
  }
  return follow(at, std::move(request));
}

outcome<std::unique_ptr<http_response>> requester::follow(endpoint& at, http_request request) {
  const auto plain_headers = request.headers;
  const url origin = request.to;
  auto who = authorization(at, request);
  if (!who) return tl::make_unexpected(who.error());
  reach nearest = reach::link_local;
  for (int hops = 0;; ++hops) {
    request.headers = plain_headers;
    // Credentials are for the registry alone, wherever it sends us.
    if (!who->empty() && request.to.same_origin(origin)) request.headers.emplace_back("Authorization", *who);
    auto answer = pool_.send(request, dialing(request.to, nearest));
    if (!answer || !is_redirect((*answer)->status())) return answer;
    const auto location = (*answer)->header("Location");
    if (location.empty()) return answer;
    if (hops == max_redirects)
      return fail(in_request(request, give_up(errc::internal, "stopped after 5 redirects").value()));
    auto next = resolve_url(request.to, location);
    if (!next) return fail(in_request(request, give_up(errc::internal, next.error().message()).value()));
    if (request.to.scheme == "https" && next->scheme == "http")
      return fail(
          in_request(request, give_up(errc::internal, "refusing a redirect from https to " + next->string()).value()));
    nearest = allowed_from(at.where);
    request.to = std::move(*next);
  }
}

outcome<std::string> requester::authorization(endpoint& at, const http_request& request) {
  const std::lock_guard guard(lock_);
  if (!at.who.registry_token.empty()) return "Bearer " + at.who.registry_token;
  for (const auto& c : at.challenges) {
    if (c.scheme != "bearer") continue;
    if (at.token.empty() || std::chrono::steady_clock::now() > at.token_end) {
      auto token = fetch_token(at, c);
      if (!token) return tl::make_unexpected(in_request(request, token.error()));
      at.token = std::move(*token);
    }
    return "Bearer " + at.token;
  }
  for (const auto& c : at.challenges) {
    if (c.scheme != "basic") continue;
    if (!at.who.username.empty()) return basic_header(at.who);
    failure f;
    f.what = error(errc::internal, "no basic auth credentials");
    return fail(in_request(request, std::move(f)));
  }
  return std::string();
}

outcome<std::string> requester::fetch_token(endpoint& at, const challenge& c) {
  const auto parameter = [&](const char* key) {
    const auto found = c.parameters.find(key);
    return found == c.parameters.end() ? std::string() : found->second;
  };
  auto realm = parse_url(parameter("realm"));
  if (!realm) return give_up(errc::internal, "invalid token auth challenge realm: " + realm.error().message());
  if (at.base.scheme == "https" && realm->scheme != "https")
    return give_up(errc::internal,
                   "refusing to fetch a token over http for a registry that speaks https: " + realm->string());
  const std::string scope = "repository:" + name.path() + ":pull";
  http_request request;
  request.to = std::move(*realm);
  if (!at.who.identity_token.empty()) {
    request.method = "POST";
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    request.body = "grant_type=refresh_token&client_id=docker&service=" + percent_encode(parameter("service")) +
                   "&scope=" + percent_encode(scope) + "&refresh_token=" + percent_encode(at.who.identity_token);
  } else {
    const char joint = request.to.target.find('?') == std::string::npos ? '?' : '&';
    request.to.target += joint + std::string("scope=") + percent_encode(scope);
    if (const auto service = parameter("service"); !service.empty())
      request.to.target += "&service=" + percent_encode(service);
    if (!at.who.username.empty()) {
      request.to.target += "&account=" + percent_encode(at.who.username);
      request.headers = {{"Authorization", basic_header(at.who)}};
    }
  }
  auto answer = pool_.send(request, dialing(request.to, allowed_from(at.where)));
  if (!answer) return tl::make_unexpected(answer.error());
  if ((*answer)->status() != 200) return fail(answer_failure(**answer));
  auto body = (*answer)->read_all(max_document);
  if (!body) return tl::make_unexpected(body.error());
  const auto document = nlohmann::json::parse(*body, nullptr, false);
  std::string token;
  for (const char* key : {"token", "access_token"})
    if (token.empty() && document.is_object() && document.contains(key) && document[key].is_string())
      token = document[key].get<std::string>();
  if (token.empty() || token.find_first_of("\r\n") != std::string::npos)
    return give_up(errc::internal, "authorization server did not include a token in the response");
  int64_t lifetime = 60;
  if (const auto e = document.find("expires_in"); e != document.end() && e->is_number_integer())
    lifetime = std::clamp<int64_t>(e->get<int64_t>(), 60, 86'400);
  at.token_end = std::chrono::steady_clock::now() + std::chrono::seconds(lifetime - 10);
  return token;
}

}  // namespace arca::registry
