#include "guest/event_stream.hpp"

namespace arca::guest {
namespace {
constexpr size_t most_queued_oom_events = 256;
}  // namespace

void fill(arca::agent::v1::Exit& into, const exit_record& r) {
  into.set_code(r.code);
  into.set_at(r.at);
  into.set_oom_killed(r.oom_killed);
  into.set_last_sequence(r.last_sequence);
}

void push(event_stream& into, const event& what) {
  arca::agent::v1::Event e;
  e.set_container_id(what.container);
  e.set_process_id(what.process);
  if (what.exit) {
    fill(*e.mutable_exit(), *what.exit);
    return into.push(std::move(e));
  }
  e.mutable_oom();
  into.push(std::move(e), most_queued_oom_events);
}

}  // namespace arca::guest
