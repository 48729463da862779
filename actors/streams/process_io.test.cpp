#include "actors/streams/process_io.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "actors/streams/testing/fake_agent.hpp"
#include "persistence/base/fs.hpp"

using namespace arca;
using namespace arca::testing;
using stdio::frame_kind;

namespace {

struct harness {
  explicit harness(size_t threads = 2) : service(threads) {}
  temp_dir dir;
  fake_agent agent;
  std::atomic<int> ended{0};  // 1 complete, 2 broken
  stdio_service service;      // its threads end before what they call back to
  std::shared_ptr<process_io> io;

  process_io::options options(bool log = true) {
    process_io::options o;
    if (log) o.log.path = dir / "c-json.log";
    return o;
  }
  void start(process_io::options o, bool bind = true) {
    io = process_io::make(service, std::move(o));
    if (bind) this->bind();
  }
  void bind() {
    io->next_sequence();
    io->bind(agent.daemon_end(), [this](const stdio_end& how) { ended = how.complete ? 1 : 2; });
  }
  std::string log_text() { return fs::read_file(dir / "c-json.log").value_or(""); }
  std::string read_back(log_query q = {}) { return demultiplexed(read_all(*io->read_log(q)->output)); }
};

attach_options output_only(bool logs = false) {
  attach_options o;
  o.out = o.err = true;
  o.logs = logs;
  return o;
}
attach_options with_input() {
  auto o = output_only();
  o.in = true;
  return o;
}

}  // namespace

TEST_CASE("records reach the log and every client, and are acknowledged") {
  harness h;
  h.start(h.options(), false);
  auto both = h.io->attach(output_only());
  auto only_err = attach_options();
  only_err.err = true;
  auto err = h.io->attach(only_err);
  auto raw = output_only();
  raw.framed = false;
  auto plain = h.io->attach(raw);
  h.bind();
  h.agent.output("out1\n");
  h.agent.output("err1\n", 2);
  h.agent.output("par");
  h.agent.output("tial\nlast");
  CHECK(h.agent.acked(4));
  h.agent.end();
  CHECK(eventually([&] { return h.ended == 1; }));
  CHECK(h.io->next_sequence() == 5);
  h.io->finish();
  CHECK(demultiplexed(read_all(*both.output)) == "1:out1\n|2:err1\n|1:partial\nlast");
  CHECK(demultiplexed(read_all(*err.output)) == "2:err1\n");
  CHECK(read_all(*plain.output) == "out1\nerr1\npartial\nlast");
  CHECK(h.read_back() == "1:out1\n|2:err1\n|1:partial\nlast");
  const std::string time = "\"time\":\"2023-11-14T22:13:20.000000001Z\"}\n";
  CHECK(h.log_text() == "{\"log\":\"out1\\n\",\"stream\":\"stdout\"," + time +
                            "{\"log\":\"err1\\n\",\"stream\":\"stderr\"," + time +
                            "{\"log\":\"partial\\n\",\"stream\":\"stdout\"," + time +
                            "{\"log\":\"last\",\"stream\":\"stdout\"," + time);
}

TEST_CASE("a hostile or dying agent breaks its own connection only") {
  struct hostile {
    std::string name, bytes;
  };
  using f = fake_agent;
  stdio::frame big;
  big.length = stdio::max_payload + 1;
  big.sequence = 2;
  const std::vector<hostile> cases = {
      {"too long", std::string(reinterpret_cast<const char*>(&big), sizeof big)},
      {"sequence again", f::frame_bytes(frame_kind::output, 1, "x")},
      {"sequence zero", f::frame_bytes(frame_kind::output, 0, "x")},
      {"wrong stream", f::frame_bytes(frame_kind::output, 2, "x", 3)},
      {"a frame of the daemon's", f::frame_bytes(frame_kind::ack, 2)},
      {"end with a payload", f::frame_bytes(frame_kind::end, 1, "x")},
      {"end beyond the last record", f::frame_bytes(frame_kind::end, 9)},
      {"closed", ""},
  };
  for (const auto& c : cases) {
    INFO(c.name);
    harness h;
    h.start(h.options());
    h.agent.output("good\n");
    CHECK(h.agent.acked(1));
    h.agent.raw(c.bytes);
    if (c.bytes.empty()) h.agent.close();
    CHECK(eventually([&] { return h.ended == 2; }));
    CHECK(h.read_back() == "1:good\n");
    CHECK(h.io->next_sequence() == 2);
    // The next connection goes on.
    fake_agent next;
    h.ended = 0;
    h.io->bind(next.daemon_end(), [&](const stdio_end& how) { h.ended = how.complete ? 1 : 2; });
    next.sequence = 1;
    next.output("more\n");
    CHECK(next.acked(2));
    next.end();
    CHECK(eventually([&] { return h.ended == 1; }));
    h.io->finish();
    CHECK(eventually([&] { return h.read_back() == "1:good\nmore\n"; }));
  }
}

TEST_CASE("unknown frames are passed over and credits beyond the sent are clamped") {
  harness h;
  h.start(h.options());
  h.agent.raw(fake_agent::frame_bytes(static_cast<frame_kind>(77), 5, "whatever"));
  h.agent.raw(fake_agent::frame_bytes(frame_kind::stdin_credit, UINT64_MAX));
  h.agent.output("ok\n");
  CHECK(h.agent.acked(1));
  CHECK(h.ended == 0);
}

TEST_CASE("stdin respects the window, takes turns and half-closes") {
  harness h;
  auto o = h.options(false);
  o.open_stdin = o.stdin_once = true;
  h.start(o, false);
  auto client = h.io->attach(with_input());
  REQUIRE(client.input);
  client.input->push(std::string(600'000, 'a'));
  client.input->push("end");
  client.input->close();
  h.bind();
  size_t got = 0;
  std::string tail;
  while (got < stdio::stdin_window) {
    const auto r = h.agent.next_of(frame_kind::stdin_data);
    REQUIRE(r.ok);
    got += r.payload.size();
  }
  CHECK(got == stdio::stdin_window);
  CHECK_FALSE(h.agent.next_of(frame_kind::stdin_data, 50).ok);  // not a byte more without credit
  size_t uncredited = got;
  while (got < 600'003) {
    h.agent.raw(fake_agent::frame_bytes(frame_kind::stdin_credit, 100'000));
    uncredited -= std::min<size_t>(uncredited, 100'000);
    for (;;) {
      const auto r = h.agent.next(uncredited + 100'000 > stdio::stdin_window && got < 600'003 ? 300 : 20);
      if (!r.ok || r.head.kind != frame_kind::stdin_data) break;
      got += r.payload.size();
      uncredited += r.payload.size();
      tail = r.payload;
      CHECK(uncredited <= stdio::stdin_window);
      if (got == 600'003) break;
    }
  }
  CHECK(tail.substr(tail.size() - 3) == "end");
  CHECK(h.agent.next_of(frame_kind::stdin_close).ok);
  h.agent.output("out");
  h.agent.end();
  CHECK(eventually([&] { return h.ended == 1; }));
  h.io->finish();
  CHECK(demultiplexed(read_all(*client.output)) == "1:out");
}

TEST_CASE("without stdin_once the end of a client's input ends that client only") {
  harness h;
  auto o = h.options(false);
  o.open_stdin = true;
  h.start(o);
  auto first = h.io->attach(with_input());
  first.input->push("one");
  CHECK(h.agent.next_of(frame_kind::stdin_data).payload == "one");
  first.input->close();
  CHECK(read_all(*first.output).empty());
  auto second = h.io->attach(with_input());
  second.input->push("two");
  CHECK(h.agent.next_of(frame_kind::stdin_data).payload == "two");
  second.output->abort();
  CHECK_FALSE(h.agent.next_of(frame_kind::stdin_close, 50).ok);
}

TEST_CASE("detach keys end one client, are not passed on, and may be split over reads") {
  harness h;
  auto o = h.options(false);
  o.open_stdin = o.tty = o.stdin_once = true;
  h.start(o);
  auto a = with_input();
  a.detach_keys = std::string("\x10\x11");
  a.framed = false;
  auto client = h.io->attach(a);
  client.input->push("x\x10y\x10");
  CHECK(h.agent.next_of(frame_kind::stdin_data).payload == "x\x10y");
  client.input->push("\x10\x11never");
  CHECK(h.agent.next_of(frame_kind::stdin_data).payload == "\x10");
  CHECK(read_all(*client.output).empty());
  CHECK(eventually([&] { return client.input->aborted(); }));
  CHECK_FALSE(h.agent.next(50).ok);
}

TEST_CASE("resizes before the start and in order with stdin") {
  harness h;
  auto o = h.options(false);
  o.open_stdin = o.tty = true;
  h.start(o, false);
  h.io->resize(24, 80);
  h.bind();
  auto r = h.agent.next();
  CHECK(r.head.kind == frame_kind::resize);
  CHECK(r.head.sequence == (uint64_t{24} << 32 | 80));
  auto client = h.io->attach(with_input());
  client.input->push("a");
  CHECK(h.agent.next_of(frame_kind::stdin_data).payload == "a");
  h.io->resize(1, 2);
  CHECK(h.agent.next().head.sequence == (uint64_t{1} << 32 | 2));
}

TEST_CASE("a client that does not read stops its process and no other; gone, the process goes on") {
  std::atomic<int> other_ended{0};
  harness slow(1), quick;  // both on the one loop of one service
  slow.start(slow.options());
  auto stalled = slow.io->attach(output_only());
  auto other = process_io::make(slow.service, quick.options());
  other->bind(quick.agent.daemon_end(), [&](const stdio_end&) { other_ended = 1; });
  std::atomic<bool> done{false};
  const std::string record(stdio::max_payload, 'x');
  std::thread writer([&] {
    for (int i = 0; i < 400; ++i) slow.agent.output(record);
    slow.agent.end();
    done = true;
  });
  CHECK(eventually([&] { return stalled.output->queued() >= (1u << 20); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_FALSE(done);
  CHECK(stalled.output->queued() < (1u << 20) + (512u << 10));  // bounded
  quick.agent.output("quick\n");
  CHECK(quick.agent.acked(1));
  stalled.output->abort();
  writer.join();
  CHECK(eventually([&] { return slow.ended == 1; }));
  log_query q;
  q.framed = false;
  CHECK(read_all(*slow.io->read_log(q)->output).size() == 400 * record.size());
  slow.io->finish();
  other->finish();
}

TEST_CASE("attach with logs shows the log, then goes on without a gap or a repetition") {
  for (const bool burst : {false, true}) {
    harness h;
    h.start(h.options());
    for (int i = 0; i < 1000; ++i) h.agent.output("line " + std::to_string(i) + "\n");
    h.agent.output("begun ");
    CHECK(h.agent.acked(1001));
    std::atomic<bool> stop{false};
    int last = 1000;
    std::thread writer([&] {
      h.agent.output("line 1000\n");
      while (burst && !stop) h.agent.output("line " + std::to_string(++last) + "\n");
    });
    if (!burst) writer.join();
    auto client = h.io->attach(output_only(true));
    std::string text;
    std::thread reader([&] { text = read_all(*client.output); });
    std::this_thread::sleep_for(std::chrono::milliseconds(burst ? 200 : 20));
    stop = true;
    if (burst) writer.join();
    h.agent.end();
    CHECK(eventually([&] { return h.ended == 1; }));
    h.io->finish();
    reader.join();
    std::string wanted = "1:";
    for (int i = 0; i <= last; ++i) wanted += (i == 1000 ? "begun line " : "line ") + std::to_string(i) + "\n";
    CHECK((demultiplexed(text) == wanted));
  }
}

TEST_CASE("finished: logs only ends, stream waits for the next start, no log says so") {
  harness h;
  h.start(h.options());
  h.agent.output("one\n");
  h.agent.end();
  CHECK(eventually([&] { return h.ended == 1; }));
  h.io->finish();
  auto logs_only = output_only(true);
  logs_only.stream = false;
  CHECK(demultiplexed(read_all(*h.io->attach(logs_only).output)) == "1:one\n");
  CHECK(read_all(*h.io->attach({}).output).empty());  // nothing wanted
  auto waiting = h.io->attach(output_only());
  CHECK(waiting.output->queued() == 0);
  h.io->restart();
  CHECK(h.io->next_sequence() == 1);
  fake_agent second;
  h.ended = 0;
  h.io->bind(second.daemon_end(), [&](const stdio_end& how) { h.ended = how.complete ? 1 : 2; });
  second.output("two\n");
  second.end();
  CHECK(eventually([&] { return h.ended == 1; }));
  h.io->finish();
  CHECK(demultiplexed(read_all(*waiting.output)) == "1:two\n");
  CHECK(h.read_back() == "1:one\ntwo\n");

  harness none;
  none.start(none.options(false));
  const auto refused = none.io->read_log({});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == errc::unsupported);
  CHECK(refused.error().message() == "configured logging driver does not support reading");
  CHECK(demultiplexed(read_all(*none.io->attach(output_only(true)).output)) ==
        "1:Error attaching: configured logging driver does not support reading\n");
}

TEST_CASE("finish takes what still lies in the socket into the log, past a stalled client") {
  harness h;
  h.start(h.options());
  auto stalled = h.io->attach(output_only());
  const std::string record(stdio::max_payload, 'y');
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) h.agent.output(record);
    h.agent.end();
  });
  CHECK(eventually([&] { return stalled.output->queued() >= (1u << 20); }));
  h.io->finish();
  writer.join();
  log_query q;
  q.framed = false;
  CHECK(eventually([&] { return read_all(*h.io->read_log(q)->output).size() >= 64 * record.size(); }));
  CHECK_FALSE(read_all(*stalled.output).empty());  // and it ends
}

TEST_CASE("the files may be removed right after finish, as often as it is called") {
  for (int i = 0; i < 20; ++i) {
    harness h;
    h.start(h.options());
    h.agent.output("no newline");
    h.agent.end();
    CHECK(eventually([&] { return h.ended == 1; }));
    h.io->finish();
    std::filesystem::remove(h.dir / "c-json.log");
    std::filesystem::remove(h.dir / "c-json.log.checkpoint");
    h.io->finish();
    ::poll(nullptr, 0, 1);
    CHECK_FALSE(std::filesystem::exists(h.dir / "c-json.log"));
  }
}

TEST_CASE("logs follow a running process to its end") {
  harness h;
  auto o = h.options();
  h.start(o);
  log_query q;
  q.follow = true;
  q.tail = 1;
  h.agent.output("before\n");
  CHECK(h.agent.acked(1));
  auto follow = h.io->read_log(q);
  REQUIRE(follow);
  CHECK(demultiplexed(read_some(*follow->output, 15)) == "1:before\n");  // it has its place
  h.agent.output("after\n");
  CHECK(demultiplexed(read_some(*follow->output, 14)) == "1:after\n");
  h.agent.end();
  CHECK(eventually([&] { return h.ended == 1; }));
  h.io->finish();
  CHECK(read_all(*follow->output).empty());
}

TEST_CASE("abandoned: an agent that goes on makes no file, and does not keep the end away") {
  harness h;
  h.start(h.options());
  const auto log = h.dir / "c-json.log";
  std::error_code ignored;
  std::jthread writes([&](const std::stop_token& over) {
    const std::string text(16 << 10, 'e');
    for (int left = 64 << 10; left > 0 && !over.stop_requested(); --left) h.agent.output(text);
  });
  REQUIRE(
      eventually([&] { return std::filesystem::exists(log) && std::filesystem::file_size(log, ignored) > (1 << 20); }));
  h.io->abandon();
  std::filesystem::remove_all(h.dir / "", ignored);
  CHECK(eventually([&] { return h.ended == 2; }));
  CHECK_FALSE(std::filesystem::exists(log));
}
