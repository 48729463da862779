#include "vm/network/firewall.hpp"

#include <catch2/catch.hpp>

using namespace arca::net;

namespace {
bool has(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}
}  // namespace

TEST_CASE("ruleset of the default bridge") {
  const auto text = firewall_ruleset({{.bridge = "arca0", .subnet = *parse_subnet4("172.17.0.1/16")}});
  CHECK(text.rfind("table inet arca\ndelete table inet arca\n", 0) == 0);
  CHECK(has(text, "elements = { \"arca0\" }"));
  CHECK(has(text, "iifname \"arca0\" oifname \"arca0\" accept"));
  CHECK(has(text, "oifname != \"arca0\" ip saddr 172.17.0.0/16 masquerade"));
  CHECK(has(text, "priority filter + 10"));
  CHECK(has(text, "priority srcnat + 10"));
}

TEST_CASE("ruleset of several bridges") {
  bridge_rules plain{.bridge = "br-a", .subnet = *parse_subnet4("172.18.0.1/16")};
  bridge_rules closed{.bridge = "br-b", .subnet = *parse_subnet4("172.19.0.1/16")};
  closed.internal = true;
  closed.icc = false;
  const auto text = firewall_ruleset({plain, closed});
  CHECK(has(text, "elements = { \"br-a\", \"br-b\" }"));
  CHECK(has(text, "iifname @bridges oifname @bridges drop"));
  CHECK(has(text, "iifname \"br-b\" oifname \"br-b\" drop"));
  CHECK(has(text, "iifname \"br-b\" drop"));
  CHECK_FALSE(has(text, "172.19"));
}

TEST_CASE("no bridges: no table") {
  CHECK_FALSE(has(firewall_ruleset({}), "{"));
}

TEST_CASE("a bridge name cannot bring rules of its own") {
  const auto applied = apply_firewall({{.bridge = "a\" accept #", .subnet = {}}});
  REQUIRE_FALSE(applied);
  CHECK(applied.error().code() == arca::errc::invalid_argument);
}
