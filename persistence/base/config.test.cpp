#include "persistence/base/config.hpp"

#include <catch2/catch.hpp>

using namespace arca;

TEST_CASE("a config file sets what it names and leaves the rest") {
  settings s;
  REQUIRE(apply_config(s, R"({"data-root": "/x", "registries": {"docker.io": {"mirrors": ["http://m:5000"]}}})", "f"));
  CHECK(s.data_root == "/x");
  CHECK(s.registries.at("docker.io").mirrors.at(0) == "http://m:5000");
  CHECK(s.run_root == "/run/arca");
}

TEST_CASE("an unknown or wrong key is an error that names it") {
  settings s;
  CHECK(apply_config(s, R"({"data-rot": "/x"})", "f").error().message() == "f: unknown key \"data-rot\"");
  CHECK(apply_config(s, R"({"registries": {"a": {"mirror": []}}})", "f").error().message() ==
        "f: unknown key \"registries.a.mirror\"");
  CHECK(apply_config(s, R"({"agent-pool": "4"})", "f").error().message() ==
        "f: key \"agent-pool\" must be a whole number");
  CHECK(apply_config(s, R"({"vm-pool": 65})", "f").error().message() ==
        "f: key \"vm-pool\" must be off, auto or a number up to 64");
  CHECK(apply_config(s, R"({"vm-pool-idle": -1})", "f").error().message() ==
        "f: key \"vm-pool-idle\" must be at least 0");
  CHECK(apply_config(s, R"({"log-level": "loud"})", "f").error().code() == errc::invalid_argument);
  CHECK(apply_config(s, "[]", "f").error().code() == errc::invalid_argument);
}
