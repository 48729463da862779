#include "http/handlers/registry_auth.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using arca::http::registry_auth;

namespace {
std::string password_of(std::string_view header) {
  const auto text = registry_auth(header);
  return text.empty() ? "nobody" : nlohmann::json::parse(text).at("password").get<std::string>();
}
}  // namespace

// Each of them was asked of Docker Engine 28.5.2, with a registry that wrote down who came.
TEST_CASE("X-Registry-Auth") {
  CHECK(password_of("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==") == "p");
  CHECK(password_of("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ===") == "p");
  CHECK(password_of("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ== x") == "p");
  CHECK(password_of("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ") == "nobody");
  CHECK(password_of("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InBwcCJ9") == "ppp");
  CHECK(password_of("eyJ1c2VybmFtZSI6InU_Pz4-Pj4iLCJwYXNzd29yZCI6InB-fn4ifQ==") == "p~~~");
  CHECK(password_of("eyJ1c2VybmFtZSI6InU/Pz4+Pj4iLCJwYXNzd29yZCI6InB+fn4ifQ==") == "nobody");
  CHECK(password_of("eyJVc2VyTmFtZSI6InUiLCJQQVNTV09SRCI6InAifQ==") == "p");
  CHECK(password_of("eyJwYXNzd29yZCI6InAiLCJlbWFpbCI6NX0=") == "nobody");
  CHECK(password_of("W10=") == "nobody");
  CHECK(password_of("e25vcGU=") == "nobody");
  CHECK(registry_auth("").empty());
  CHECK(registry_auth("=").empty());
  CHECK(registry_auth("A===").empty());
}
