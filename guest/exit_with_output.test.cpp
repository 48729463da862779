// ExecRequest.exit_with_output, with both launchers (part of guest_integration; root only).
#include <catch2/catch.hpp>
#include <cstdlib>

#include "guest/testing/machine_fixture.hpp"
#include "persistence/base/text.hpp"

using namespace arca;
using namespace arca::guest;
using namespace arca::guest::testing;

TEST_CASE("an exit that goes with the output comes as an event only if nobody acknowledges it") {
  machine_fixture m(true, GENERATE(as<std::string>(), "crun", "native"));
  REQUIRE(m.create({"sleep", "100"}).ok());
  const auto run = [&](const std::string& name) {
    auto io = m.open_stdio(name);
    auto request = m.exec_request(name, {"sh", "-c", "echo in; exit 5"});
    request.set_exit_with_output(true);
    REQUIRE(m.exec(request).ok());
    CHECK(io->read_all() == "in\n");
    CHECK(io->end.reserved == (stdio::exit_told | 5));
    CHECK(std::abs(io->end.time - now_nanos()) < 20'000'000'000);
  };
  run("e1");
  CHECK(m.acknowledge("e1").ok());
  const auto begin = std::chrono::steady_clock::now();
  run("e2");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  const auto events = m.stub->Events(&context, pb::EventsRequest());
  // A new call begins with what was not acknowledged; the delayed event is the second.
  for (int i = 0; i < 2; ++i) {
    pb::Event event;
    REQUIRE(events->Read(&event));
    CHECK(event.process_id() == "e2");
    CHECK(event.exit().code() == 5);
  }
  CHECK(milliseconds_since(begin) > 2000);
  CHECK(m.acknowledge("e2").ok());
}
