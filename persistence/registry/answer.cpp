#include "persistence/registry/answer.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"
#include "persistence/registry/auth.hpp"

namespace arca::registry {
namespace {
using json = nlohmann::json;

struct known_code {
  errc code;
  const char* message;  // when the registry gives none
};
const std::map<std::string, known_code>& codes() {
  static const std::map<std::string, known_code> table = {
      {"UNKNOWN", {errc::internal, "unknown error"}},
      {"UNSUPPORTED", {errc::internal, "The operation is unsupported."}},
      {"UNAUTHORIZED", {errc::unauthorized, "authentication required"}},
      {"DENIED", {errc::forbidden, "requested access to the resource is denied"}},
      {"UNAVAILABLE", {errc::unavailable, "service unavailable"}},
      {"TOOMANYREQUESTS", {errc::internal, "too many requests"}},
      {"DIGEST_INVALID", {errc::invalid_argument, "provided digest did not match uploaded content"}},
      {"SIZE_INVALID", {errc::invalid_argument, "provided length did not match content length"}},
      {"NAME_INVALID", {errc::invalid_argument, "invalid repository name"}},
      {"TAG_INVALID", {errc::invalid_argument, "manifest tag did not match URI"}},
      {"NAME_UNKNOWN", {errc::not_found, "repository name not known to registry"}},
      {"MANIFEST_UNKNOWN", {errc::not_found, "manifest unknown"}},
      {"MANIFEST_INVALID", {errc::invalid_argument, "manifest invalid"}},
      {"MANIFEST_UNVERIFIED", {errc::invalid_argument, "manifest failed signature verification"}},
      {"MANIFEST_BLOB_UNKNOWN", {errc::invalid_argument, "blob unknown to registry"}},
      {"BLOB_UNKNOWN", {errc::not_found, "blob unknown to registry"}},
      {"PAGINATION_NUMBER_INVALID", {errc::invalid_argument, "invalid number of results requested"}},
      {"RANGE_INVALID", {errc::internal, "invalid content range"}},
  };
  return table;
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// RFC 6750 errors in the challenge come before whatever the body says.
bool bearer_failure(const http_response& answer, failure& out) {
  for (const auto& c : parse_challenges(answer.headers("WWW-Authenticate"))) {
    if (c.scheme != "bearer") continue;
    const auto kind = c.parameters.find("error");
    if (kind == c.parameters.end()) continue;
    const auto described = c.parameters.find("error_description");
    const auto text = described == c.parameters.end() ? std::string() : described->second;
    if (kind->second == "invalid_token")
      out = protocol_failure("UNAUTHORIZED", text);
    else if (kind->second == "insufficient_scope")
      out = protocol_failure("DENIED", text);
    else
      continue;
    return true;
  }
  return false;
}

failure body_failure(int status, const std::string& body) {
  const auto document = json::parse(body, nullptr, false);
  if (document.is_object()) {
    if (const auto details = text_of(document, "details"); !details.empty())
      return protocol_failure(status == 401 ? "UNAUTHORIZED" : status == 429 ? "TOOMANYREQUESTS" : "UNKNOWN", details);
    if (const auto errors = document.find("errors"); errors != document.end() && errors->is_array())
      for (const auto& e : *errors)
        if (e.is_object()) return protocol_failure(text_of(e, "code"), text_of(e, "message"));
  }
  if (status == 401) return protocol_failure("UNAUTHORIZED", "");
  failure f;
  std::string why = "no error details found in HTTP response body";
  if (!document.is_object()) {
    why = body.empty() ? "unexpected end of JSON input"
                       : "invalid character '" + body.substr(0, 1) + "' looking for beginning of value";
  }
  constexpr size_t shown = 512;
  f.what = error(errc::internal, "error parsing HTTP " + std::to_string(status) + " response body: " + why + ": " +
                                     go_quote(std::string_view(body).substr(0, shown)));
  return f;
}

int retry_after(const http_response& answer) {
  const auto value = answer.header("Retry-After");
  if (value.empty() || value.size() > 6 ||
      !std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return 0;
  return std::stoi(value);
}
}  // namespace

failure protocol_failure(std::string code, std::string message) {
  auto found = codes().find(code);
  if (found == codes().end()) found = codes().find("UNKNOWN");
  std::string shown = lower(found->first);
  std::replace(shown.begin(), shown.end(), '_', ' ');
  failure f;
  f.code = found->first;
  f.what = error(found->second.code, shown + ": " + (message.empty() ? found->second.message : message));
  return f;
}

failure answer_failure(http_response& answer) {
  constexpr size_t error_limit = 64u << 10;
  const int status = answer.status();
  failure out;
  if (status < 500 && status >= 400) {
    auto body = answer.read_all(error_limit);
    if (!bearer_failure(answer, out)) out = body_failure(status, body ? *body : std::string());
  } else {
    out.what = error(errc::internal, "received unexpected HTTP status: " + answer.status_text());
  }
  out.retry = status == 429 || status == 408 || status >= 500;
  out.retry_after = retry_after(answer);
  return out;
}

error pull_error(const failure& f, const reference& ref) {
  const auto& text = f.what.message();
  if (f.code == "DENIED")
    return {errc::not_found, "pull access denied for " + ref.familiar_name() +
                                 ", repository does not exist or may require 'docker login': " + text};
  if (f.code == "MANIFEST_UNKNOWN") return {errc::not_found, "manifest for " + ref.familiar() + " not found: " + text};
  if (f.code == "NAME_UNKNOWN") return {errc::not_found, "repository " + ref.familiar_name() + " not found: " + text};
  return f.what;
}

}  // namespace arca::registry
