#include "actors/container/state.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace arca;

namespace {
const std::array<container_status, status_count> states = {
    container_status::created, container_status::starting, container_status::running,
    container_status::paused,  container_status::stopping, container_status::restarting,
    container_status::exited,  container_status::removing, container_status::dead};
bool is_request(stimulus s) {
  return s <= stimulus::force_remove;
}
}  // namespace

TEST_CASE("every cell of the table is complete: a refusal has a code and a text, a request never vanishes") {
  model::container_record r;
  r.id = "0123456789ab";
  r.name = "n";
  for (const auto state : states) {
    for (size_t i = 0; i < stimulus_count; ++i) {
      const auto s = static_cast<stimulus>(i);
      const auto& cell = lookup(state, s);
      INFO(model::to_string(state) << " + " << to_string(s));
      if (is_request(s)) CHECK(cell.decision != verdict::ignore);
      if (!is_request(s)) CHECK((cell.decision == verdict::go || cell.decision == verdict::ignore));
      if (cell.decision == verdict::refuse) {
        const auto e = refusal(cell, r);
        CHECK(e.code() != errc::none);
        CHECK_FALSE(e.message().empty());
        CHECK(e.message().find('%') == std::string::npos);
      }
      if (cell.decision == verdict::later)
        CHECK((state == container_status::starting || state == container_status::stopping));
    }
  }
}

TEST_CASE("every state can be reached from created and can be left towards removal") {
  std::set<container_status> reached = {container_status::created};
  for (size_t round = 0; round < status_count; ++round) {
    for (const auto state : std::set<container_status>(reached)) {
      for (size_t i = 0; i < stimulus_count; ++i) {
        const auto& cell = lookup(state, static_cast<stimulus>(i));
        if (cell.decision == verdict::go) reached.insert(cell.next);
      }
    }
  }
  // restarting is entered by the restart policy after init_exited, not by the table itself
  reached.insert(container_status::restarting);
  CHECK(reached.size() == status_count);
  for (const auto state : states) {
    if (state == container_status::removing) continue;
    INFO(model::to_string(state));
    const auto d = lookup(state, stimulus::force_remove).decision;
    CHECK((d == verdict::go || d == verdict::later));
  }
}

TEST_CASE("Docker's answers") {
  model::container_record r;
  r.id = "abc";
  r.name = "web";
  const auto text = [&](container_status s, stimulus x) { return refusal(lookup(s, x), r).message(); };
  CHECK(lookup(container_status::running, stimulus::start).decision == verdict::already);
  CHECK(lookup(container_status::exited, stimulus::stop).decision == verdict::already);
  CHECK(text(container_status::created, stimulus::pause) == "container abc is not running");
  CHECK(text(container_status::paused, stimulus::start) == "cannot start a paused container, try unpause instead");
  CHECK(text(container_status::paused, stimulus::exec) == "Container web is paused, unpause the container before exec");
  CHECK(text(container_status::running, stimulus::remove) ==
        "container is running: stop the container before removing or force remove");
}
