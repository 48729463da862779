#include "actors/events/event_filter.hpp"

#include <catch2/catch.hpp>

using namespace arca;

namespace {
publish_event exec_event() {
  publish_event e;
  e.type = "container";
  e.action = "exec_create: sh -c x";
  e.actor_id = "0123456789abcdef";
  e.attributes = {{"image", "busybox:1"}, {"name", "web"}, {"who", "me"}};
  return e;
}
bool matches(const char* filters) {
  auto f = event_filter::parse(filters);
  REQUIRE(f);
  return f->matches(exec_event());
}
}  // namespace

TEST_CASE("values of one key are alternatives, keys are conditions") {
  CHECK(matches(""));
  CHECK(matches(R"({"type": ["network", "container"]})"));
  CHECK_FALSE(matches(R"({"type": ["network"]})"));
  CHECK(matches(R"({"type": ["container"], "event": ["exec_create"]})"));
  CHECK_FALSE(matches(R"({"type": ["container"], "event": ["die"]})"));
  CHECK(matches(R"({"container": ["web"]})"));
  CHECK(matches(R"({"container": ["0123456789ab"]})"));
  CHECK_FALSE(matches(R"({"container": ["nosuch"]})"));
  CHECK(matches(R"({"image": ["busybox"]})"));
  CHECK(matches(R"({"label": ["who=me"]})"));
  CHECK_FALSE(matches(R"({"label": ["who=me", "absent"]})"));
  CHECK(matches(R"({"type": {"container": true}})"));
  CHECK(matches(R"({"unknown": ["x"]})"));
}

TEST_CASE("nonsense is refused") {
  CHECK_FALSE(event_filter::parse("x"));
  CHECK_FALSE(event_filter::parse("[]"));
  CHECK_FALSE(event_filter::parse(R"({"type": 1})"));
}
