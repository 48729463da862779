#include "vm/start_account.hpp"

#include <catch2/catch.hpp>

using namespace arca::vm;
using namespace std::chrono_literals;

namespace {
std::string text(const std::vector<start_step>& steps) {
  std::string out;
  for (const auto& s : steps)
    out += s.what + '@' + std::to_string(std::lround(s.at)) + '+' + std::to_string(std::lround(s.ms)) + ' ';
  return out;
}
}  // namespace

TEST_CASE("the engine's share of a start is what no call covers") {
  const auto asked = start_account::clock::now();
  start_account account(asked);
  CHECK(account.steps().empty());
  CHECK(engine_share(account.steps()) == 0);

  account.waited("boot", asked + 10ms, asked + 100ms);
  account.waited("mount", asked + 110ms, asked + 150ms);
  account.waited("plug", asked + 105ms, asked + 120ms);    // overlaps the one before, noted later
  account.waited("short", asked + 112ms, asked + 113ms);   // inside another
  account.waited("create", asked + 150ms, asked + 170ms);  // no gap
  account.waited("earlier", asked - 20ms, asked - 10ms);   // of another start
  account.waited("begun before", asked - 5ms, asked + 4ms);
  const auto steps = account.steps();
  CHECK(text(steps) ==
        "begun before@0+4 engine@4+6 boot@10+90 engine@100+5 plug@105+15 mount@110+40 short@112+1 "
        "create@150+20 ");
  CHECK(std::lround(engine_share(steps)) == 11);
  CHECK(std::lround(whole_start(steps)) == 170);

  account.close();
  account.waited("exec", asked + 300ms, asked + 400ms);
  CHECK(text(account.steps()) == text(steps));

  account.begin(asked + 200ms);
  account.waited("cont", asked + 203ms, asked + 204ms);
  CHECK(text(account.steps()) == "engine@0+3 cont@3+1 ");
  for (int i = 0; i < 1000; ++i) account.waited("flood", asked + 203ms, asked + 204ms);
  CHECK(account.steps().size() < 210);
}
