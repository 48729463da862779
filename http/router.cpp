#include "http/router.hpp"

#include <algorithm>
#include <exception>
#include <limits>

#include "http/errors.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"

namespace arca::http {
namespace {

// Splits an absolute or origin-form target into path and query; false for what is neither.
bool split_target(std::string_view target, std::string_view& path, std::string_view& query) {
  if (const auto scheme = target.find("://"); scheme != std::string_view::npos && target.front() != '/') {
    const auto slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (target == "*") target = "/*";  // OPTIONS *
  if (target.empty() || target.front() != '/') return false;
  target = target.substr(0, target.find('#'));
  const auto mark = target.find('?');
  path = target.substr(0, mark);
  query = mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
  return true;
}

// "/v1.44/info" → "1.44" and "/info".
bool split_version(std::string_view path, std::string_view& version, std::string_view& rest) {
  if (!path.starts_with("/v")) return false;
  const auto end = path.find_first_not_of("0123456789.", 2);
  if (end == std::string_view::npos || end == 2 || path[end] != '/') return false;
  version = path.substr(2, end - 2);
  rest = path.substr(end);
  return true;
}

response page_not_found() {
  auto r = error_response(404, "page not found");
  r.docker_headers = response::standard::none;
  return r;
}

response redirect(std::string_view path, std::string_view query) {
  response r = response::empty(301);
  r.docker_headers = response::standard::none;
  r.headers.push_back({"Location", escape_path(path) + (query.empty() ? "" : "?" + std::string(query))});
  return r;
}

response malformed_target() {
  auto r = response::text(400, "400 Bad Request");
  r.docker_headers = response::standard::none;
  return r;
}

int compare(const std::vector<int>& a, const std::vector<int>& b) {
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const int left = i < a.size() ? a[i] : 0;
    const int right = i < b.size() ? b[i] : 0;
    if (left != right) return left < right ? -1 : 1;
  }
  return 0;
}

// Docker's version middleware: an answer if the version is refused.
bool refuse_version(std::string_view text, model::api_version& version, response& refusal) {
  const auto parts = version_parts(text);
  if (compare(parts, version_parts(model::oldest_api)) < 0) {
    refusal =
        response::text(400, "client version " + std::string(text) +
                                " is too old. Minimum supported API version is 1.24, please upgrade your client to "
                                "a newer version\n");
    refusal.headers.push_back({"X-Content-Type-Options", "nosniff"});
  } else if (compare(parts, version_parts(model::newest_api)) > 0) {
    refusal = error_response(
        400, "client version " + std::string(text) + " is too new. Maximum supported API version is 1.51");
  } else {
    version.minor = parts.at(1);  // between 1.24 and 1.51
    return false;
  }
  refusal.docker_headers = response::standard::no_experimental;
  return true;
}

}  // namespace

std::string clean_path(std::string_view path) {
  std::vector<std::string_view> kept;
  for (size_t at = 0; at < path.size();) {
    const auto slash = std::min(path.find('/', at), path.size());
    const auto part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(part);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string out;
  for (const auto part : kept) (out += '/') += part;
  if (out.empty() || path.back() == '/') out += '/';
  return out;
}

std::vector<int> version_parts(std::string_view text) {
  std::vector<int> parts;
  for (const auto& piece : split(text, '.')) {
    int64_t value = 0;
    for (const char c : piece) value = std::min<int64_t>(value * 10 + (c - '0'), std::numeric_limits<int>::max());
    parts.push_back(static_cast<int>(value));
  }
  return parts;
}

router::router(std::span<const route> table) {
  for (const auto& r : table) {
    const auto open = r.pattern.find('{');
    if (open == std::string_view::npos) {
      fixed_.emplace(std::string(r.method) + ' ' + std::string(r.pattern), &r);
    } else {
      wildcards_.push_back({&r, r.pattern.substr(0, open), r.pattern.substr(r.pattern.find('}') + 1)});
    }
  }
}

const route* router::find(std::string_view method, std::string_view path, std::string& param) const {
  std::string key;
  key.reserve(method.size() + path.size() + 1);
  ((key += method) += ' ') += path;
  if (const auto found = fixed_.find(key); found != fixed_.end()) return found->second;
  for (const auto& w : wildcards_) {
    if (w.to->method != method || path.size() < w.prefix.size() + w.suffix.size() || !path.starts_with(w.prefix) ||
        !path.ends_with(w.suffix))
      continue;
    param = path.substr(w.prefix.size(), path.size() - w.prefix.size() - w.suffix.size());
    return w.to;
  }
  return nullptr;
}

awaitable<response> dispatch(const router& routes, call& c) {
  auto& req = c.req;
  std::string_view raw_path, query;
  if (!split_target(req.target, raw_path, query)) co_return malformed_target();
  auto decoded = unescape(raw_path, false);
  if (!decoded) co_return malformed_target();
  if (auto clean = clean_path(*decoded); clean != *decoded) co_return redirect(clean, query);

  std::string_view version, path = *decoded;
  const bool versioned = split_version(*decoded, version, path);
  if (!versioned) path = *decoded;
  const bool options = req.method == "OPTIONS";
  const route* to = options ? nullptr : routes.find(req.method, path, req.param);
  if (to == nullptr && !options) co_return page_not_found();
  if (response refusal; versioned && refuse_version(version, req.version, refusal)) co_return refusal;
  if (options) co_return response::empty(200);

  req.path = path;
  req.query_text = query;
  auto values = query_values::parse(query);
  if (!values) co_return error_response(values.error());
  req.query = std::move(*values);
  c.deadline = to->deadline;
  std::string what;
  try {
    co_return co_await to->answer(c);
  } catch (const std::exception& e) {
    what = e.what();
  }
  log::error("request handler failed", log::kv("request", static_cast<int64_t>(req.id)), log::kv("method", req.method),
             log::kv("path", req.path), log::kv("error", what));
  co_return error_response(500, "internal error: " + what);
}

}  // namespace arca::http
