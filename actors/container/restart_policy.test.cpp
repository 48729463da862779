#include "actors/container/restart_policy.hpp"

#include <catch2/catch.hpp>
#include <csignal>

using namespace arca;

namespace {
model::container_record ended(const char* policy, int code, int64_t ran_ms = 5, int64_t limit = 0) {
  model::container_record r;
  r.host_config = {{"RestartPolicy", {{"Name", policy}, {"MaximumRetryCount", limit}}}};
  r.state.exit_code = code;
  r.state.started_at = 1;
  r.state.finished_at = 1 + ran_ms * 1'000'000;
  return r;
}
}  // namespace

TEST_CASE("the four policies") {
  CHECK_FALSE(next_restart(ended("no", 1)));
  CHECK_FALSE(next_restart(ended("", 1)));
  CHECK(next_restart(ended("always", 0)));
  CHECK(next_restart(ended("unless-stopped", 0)));
  CHECK(next_restart(ended("on-failure", 1)));
  CHECK_FALSE(next_restart(ended("on-failure", 0)));
  auto limited = ended("on-failure", 1, 5, 2);
  limited.restart_count = 1;
  CHECK(next_restart(limited));
  limited.restart_count = 2;
  CHECK_FALSE(next_restart(limited));
  auto stopped = ended("always", 137);
  stopped.stopped_by_user = true;
  CHECK_FALSE(next_restart(stopped));
}

TEST_CASE("the delay doubles to a minute and starts over after a stable run") {
  auto r = ended("always", 1);
  int64_t expected = 100;
  for (int i = 0; i < 15; ++i) {
    const auto d = next_restart(r);
    REQUIRE(d);
    CHECK(d->delay_ms == expected);
    r.restart_delay_ms = d->delay_ms;
    expected = std::min<int64_t>(expected * 2, 60'000);
  }
  r.state.finished_at = r.state.started_at + restart_stable_run_ns;
  CHECK(next_restart(r)->delay_ms == 100);
}

TEST_CASE("what starts with the daemon: always even after a stop, unless-stopped not then") {
  CHECK(starts_with_daemon(ended("always", 0)));
  CHECK(starts_with_daemon(ended("unless-stopped", 0)));
  CHECK(starts_with_daemon(ended("on-failure", 137)));
  CHECK_FALSE(starts_with_daemon(ended("on-failure", 0)));
  CHECK_FALSE(starts_with_daemon(ended("no", 1)));
  for (const char* policy : {"always", "unless-stopped", "on-failure", "no"}) {
    auto stopped = ended(policy, 137);
    stopped.stopped_by_user = true;
    INFO(policy);
    CHECK(starts_with_daemon(stopped) == (policy == std::string_view("always")));
    stopped.state.started_at = 0;
    CHECK_FALSE(starts_with_daemon(stopped));
  }
}

TEST_CASE("a signal of docker kill ends the policy if it is there to end the container") {
  auto any = ended("always", 0);
  any.config = {{"StopSignal", ""}};
  CHECK(is_meant_to_end(any, SIGHUP));
  for (const char* policy : {"always", "on-failure", "unless-stopped"}) {
    auto own = ended(policy, 0);
    own.config = {{"StopSignal", "SIGQUIT"}};
    INFO(policy);
    CHECK(is_meant_to_end(own, SIGQUIT));
    CHECK(is_meant_to_end(own, SIGKILL));
    CHECK_FALSE(is_meant_to_end(own, SIGTERM));
    CHECK(counts_as_stop(own, SIGQUIT));
    CHECK(counts_as_stop(own, SIGTERM) == (policy == std::string_view("unless-stopped")));
  }
}
