// The agent as process 1 of a real machine, and the channel to it.
#define CATCH_CONFIG_RUNNER
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/text.hpp"
#include "vm/channel/agent_channel.hpp"
#include "vm/channel/test_machine.hpp"

using namespace arca;
using namespace arca::vm;
using namespace arca::vm::testing;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

namespace {
constexpr auto limit = 20s;

long ms_since(clock_type::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock_type::now() - begin).count();
}
agent_greeting greeting(uint64_t generation) {
  return {generation, std::string(32, static_cast<char>(generation)), now_nanos()};
}
result<agent_hello> hello(agent_client& agent, const agent_greeting& what) {
  return wait_for<agent_hello>([&](auto done) { agent.hello(what, limit, done); });
}
template <class Start>
result<void> call(Start start) {
  return wait_for<void>(start);
}
template <class T>
std::string why(const result<T>& r) {
  return r ? "" : r.error().message();
}
result<unique_fd> open_tunnel(agent_client& agent, const agent_tunnel& where) {
  return wait_for<unique_fd>([&](auto done) { agent.tunnel(where, limit, done); });
}
bool console_has(const test_machine& machine, const std::string& text, std::chrono::milliseconds patience = 3s) {
  for (const auto end = clock_type::now() + patience; clock_type::now() < end; std::this_thread::sleep_for(10ms))
    if (machine.console().find(text) != std::string::npos) return true;
  return false;
}
}  // namespace

TEST_CASE("a machine boots and its agent answers", "[boot]") {
  const std::string words = GENERATE(as<std::string>{}, "", "arca.channel=bridge");
  CAPTURE(words);
  const auto begin = clock_type::now();
  test_machine machine(words);
  auto agent = machine.connect();
  const auto echo = ms_since(begin);
  const auto got = hello(*agent, greeting(1));
  INFO(why(got) << machine.console());
  REQUIRE(got);
  CHECK(got->pid == 1);
  CHECK(got->machine_id.empty());
  std::printf("boot to echo %ld ms, to Hello %ld ms (%s)\n", echo, ms_since(begin), words.c_str());

  CHECK(call([&](auto done) { agent->shutdown(limit, done); }));
  CHECK(machine.wait_ended(10'000) == 0);
}

int main(int argc, char** argv) {
  std::string why_not;
  if (!can_boot(why_not)) {
    std::fprintf(stderr, "skipped: %s\n", why_not.c_str());
    return 4;
  }
  return Catch::Session().run(argc, argv);
}
