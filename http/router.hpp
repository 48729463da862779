// From a request target to a handler, by Docker's rules: version prefix, cleaned paths, "page not found".
#pragma once
#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "http/exchange.hpp"

namespace arca::http {

/// `pattern` may hold one {name}, which stands for any text, slashes too ("/images/{name}/json").
struct route {
  std::string_view method, pattern;
  handler answer;
  std::chrono::milliseconds deadline{std::chrono::seconds(60)};  ///< of the asks inside; 0: none
};

class router {
 public:
  explicit router(std::span<const route> table);
  /// The first route of the table that fits; null if none does. `param` is set for patterns with {name}.
  const route* find(std::string_view method, std::string_view path, std::string& param) const;

 private:
  struct wildcard {
    const route* to;
    std::string_view prefix, suffix;
  };
  std::unordered_map<std::string, const route*> fixed_;  // "METHOD /path"
  std::vector<wildcard> wildcards_;
};

/// Answers one request: parses the target, redirects, checks the version, calls the handler, turns whatever it throws
/// into a 500.
awaitable<response> dispatch(const router& routes, call& c);

/// path.Clean as gorilla/mux uses it: "//" and ".." go, a final slash stays.
std::string clean_path(std::string_view path);

/// "1.44" or "1.044.2"; parts that are missing are 0.
std::vector<int> version_parts(std::string_view text);

}  // namespace arca::http
