// Against a server of the test's own, which behaves as badly as a QEMU that was taken over may.
#include "vm/qemu/qmp_client.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

#include "persistence/base/fs.hpp"

using namespace arca;
using namespace arca::vm;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

struct fake_qemu {
  unique_fd end;
  std::string buffer;
  std::vector<unique_fd> received;

  void say_text(const std::string& text) { (void)fs::write_all(end.get(), text); }
  void say(const json& message) { say_text(message.dump() + "\r\n"); }
  /// The next command, an empty object when none comes for 20 s.
  json next() {
    for (;;) {
      if (const auto at = buffer.find('\n'); at != std::string::npos) {
        auto message = json::parse(buffer.substr(0, at), nullptr, false);
        buffer.erase(0, at + 1);
        return message;
      }
      pollfd ready{end.get(), POLLIN, 0};
      if (poll(&ready, 1, 20'000) != 1) return json::object();
      char data[4096];
      iovec bytes{data, sizeof data};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      msghdr message{};
      message.msg_iov = &bytes;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const auto n = recvmsg(end.get(), &message, MSG_CMSG_CLOEXEC);
      if (n <= 0) return json::object();
      buffer.append(data, static_cast<size_t>(n));
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr && header->cmsg_type == SCM_RIGHTS) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
        received.emplace_back(fd);
      }
    }
  }
  void answer(const json& command, const json& value = json::object()) {
    say(json{{"return", value}, {"id", command.value("id", "")}});
  }
  void greet() {
    say(json{{"QMP", {{"version", json::object()}}}});
    const auto command = next();
    CHECK(command["execute"] == "qmp_capabilities");
    answer(command);
  }
};

struct lab {
  qmp_loop loop;
  fake_qemu qemu;
  std::mutex lock;
  std::vector<std::string> events;
  std::unique_ptr<qmp_client> client;

  explicit lab(bool greeted = true) {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    qemu.end.reset(ends[1]);
    client = qmp_client::over(loop, unique_fd(ends[0]), [this](const std::string& name, const json&) {
      const std::lock_guard guard(lock);
      events.push_back(name);
    });
    if (!greeted) return;
    qemu.greet();
    REQUIRE(client->wait_ready(20s));
  }
  auto call(const std::string& name, std::chrono::milliseconds limit = 20s, json arguments = json::object()) {
    return std::async(std::launch::async,
                      [this, name, limit, arguments] { return client->call(name, arguments, limit); });
  }
  std::vector<std::string> seen() {
    const std::lock_guard guard(lock);
    return events;
  }
};

}  // namespace

TEST_CASE("qmp: a command, its arguments and its answer") {
  lab in;
  auto reply = in.call("query-status", 2000ms, {{"a", 1}});
  const auto command = in.qemu.next();
  CHECK(command["execute"] == "query-status");
  CHECK(command["arguments"] == json{{"a", 1}});
  in.qemu.answer(command, {{"status", "running"}});
  const auto value = reply.get();
  REQUIRE(value);
  CHECK((*value)["status"] == "running");
}

TEST_CASE("qmp: QEMU's own words for a refusal") {
  lab in;
  auto reply = in.call("device_add");
  const auto command = in.qemu.next();
  in.qemu.say(json{{"error", {{"class", "GenericError"}, {"desc", "Bus 'rp9' not found"}}}, {"id", command["id"]}});
  const auto value = reply.get();
  REQUIRE_FALSE(value);
  CHECK(value.error().code() == errc::internal);
  CHECK(value.error().message() == "QEMU, device_add: Bus 'rp9' not found");

  auto second = in.call("device_del");
  const json problem = {{"class", "DeviceNotFound"}, {"desc", "Device 'nic1' not found"}};
  in.qemu.say(json{{"error", problem}, {"id", in.qemu.next()["id"]}});
  const auto gone = second.get();
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code() == errc::not_found);
  CHECK(gone.error().message() == "QEMU, device_del: Device 'nic1' not found");
}

TEST_CASE("qmp: answers out of order, twice, late and to nobody") {
  lab in;
  auto first = in.call("one");
  const auto one = in.qemu.next();
  auto second = in.call("two");
  const auto two = in.qemu.next();
  in.qemu.say(json{{"return", 0}, {"id", "nobody"}});
  in.qemu.say(json{{"return", 0}});
  in.qemu.say(json{{"return", 0}, {"id", 7}});
  in.qemu.answer(two, 2);
  in.qemu.answer(two, 3);
  in.qemu.answer(one, 1);
  CHECK(*second.get() == 2);
  CHECK(*first.get() == 1);
  auto late = in.call("late", 50ms);
  const auto command = in.qemu.next();
  CHECK(late.get().error().code() == errc::timeout);
  in.qemu.answer(command, 4);
  auto after = in.call("after");
  in.qemu.answer(in.qemu.next(), 5);
  CHECK(*after.get() == 5);
}

TEST_CASE("qmp: an answer in pieces, and two in one piece") {
  lab in;
  auto first = in.call("one");
  const auto one = in.qemu.next();
  auto second = in.call("two");
  const auto two = in.qemu.next();
  const auto text =
      json{{"return", 1}, {"id", one["id"]}}.dump() + '\n' + json{{"return", 2}, {"id", two["id"]}}.dump() + '\n';
  in.qemu.say_text(text.substr(0, 10));
  std::this_thread::sleep_for(20ms);
  in.qemu.say_text(text.substr(10));
  CHECK(*first.get() == 1);
  CHECK(*second.get() == 2);
}

TEST_CASE("qmp: events come to the callback, and to who waits for a device's end") {
  lab in;
  auto gone = std::async(std::launch::async, [&] {
    return in.client->call_until("device_del", {{"id", "nic1"}}, "DEVICE_DELETED", "nic1", 20s);
  });
  const auto command = in.qemu.next();
  in.qemu.say(json{{"event", "DEVICE_DELETED"}, {"data", {{"device", "nic1"}}}});  // may come before the answer
  in.qemu.answer(command);
  CHECK(gone.get());
  auto other = std::async(std::launch::async, [&] {
    return in.client->call_until("device_del", {{"id", "nic2"}}, "DEVICE_DELETED", "nic2", 100ms);
  });
  in.qemu.answer(in.qemu.next());
  in.qemu.say(json{{"event", "DEVICE_DELETED"}, {"data", {{"device", "nic1"}}}});
  in.qemu.say(json{{"event", "DEVICE_DELETED"}, {"data", {{"path", "/machine/nic2"}}}});
  CHECK(other.get().error().code() == errc::timeout);
  for (int i = 0; i < 4000 && in.seen().size() < 3; ++i) std::this_thread::sleep_for(5ms);
  CHECK(in.seen() == std::vector<std::string>(3, "DEVICE_DELETED"));
}

TEST_CASE("qmp: a descriptor goes along") {
  lab in;
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  const unique_fd out(pipe_ends[0]);
  unique_fd into(pipe_ends[1]);
  auto reply = std::async(std::launch::async, [&] {
    return in.client->call("getfd", {{"fdname", "x"}}, 20s, into.get());
  });
  in.qemu.answer(in.qemu.next());
  REQUIRE(reply.get());
  into.reset();
  REQUIRE(in.qemu.received.size() == 1);
  REQUIRE(fs::write_all(in.qemu.received[0].get(), "!"));
  in.qemu.received.clear();
  char data[4];
  CHECK(read(out.get(), data, sizeof data) == 1);
  CHECK(read(out.get(), data, sizeof data) == 0);  // the client's own copy is closed too
}

TEST_CASE("qmp: what is no QMP ends the connection, and every call with it") {
  lab in;
  auto reply = in.call("query-status");
  in.qemu.next();
  SECTION("garbage") {
    in.qemu.say_text("\x01\xff not json\n");
  }
  SECTION("no object") {
    in.qemu.say_text("[[[[[[]]]]]]\n");
  }
  SECTION("the end") {
    in.qemu.end.reset();
  }
  SECTION("an endless line") {
    const std::string part(64 << 10, 'x');
    for (int i = 0; i < 8; ++i) {  // the client closes before all is sent
      if (send(in.qemu.end.get(), part.data(), part.size(), MSG_NOSIGNAL) <= 0) break;
    }
  }
  SECTION("a flood") {
    const auto event = json{{"event", "NOISE"}}.dump() + '\n';
    for (int i = 0; i < 5000; ++i)
      if (send(in.qemu.end.get(), event.data(), event.size(), MSG_NOSIGNAL) <= 0) break;
  }
  const auto value = reply.get();
  REQUIRE_FALSE(value);
  CHECK(value.error().code() == errc::unavailable);
  const auto next = in.client->call("query-status", json::object(), 2s);
  CHECK(next.error().code() == errc::unavailable);
  // A stall of this machine may let it last into the next second.
  CHECK(in.seen().size() <= 2 * static_cast<size_t>(qmp_client::max_messages_per_second));
}

TEST_CASE("qmp: deeply nested input does no harm") {
  lab in;
  auto reply = in.call("one");
  const auto command = in.qemu.next();
  in.qemu.say_text("{\"return\":" + std::string(60'000, '[') + std::string(60'000, ']') + ",\"id\":\"x\"}\n");
  in.qemu.answer(command, 1);
  CHECK(*reply.get() == 1);
}

TEST_CASE("qmp: who does not read holds up nobody") {
  lab in;
  std::vector<std::future<result<json>>> replies;
  const json big = {{"text", std::string(32 << 10, 'x')}};
  for (int i = 0; i < 40; ++i) replies.push_back(in.call("much", 300ms, big));
  int refused = 0, late = 0;
  for (auto& reply : replies) {
    const auto value = reply.get();
    REQUIRE_FALSE(value);
    refused += value.error().code() == errc::unavailable;
    late += value.error().code() == errc::timeout;
  }
  CHECK(refused > 0);
  CHECK(late > 0);
  CHECK(refused + late == 40);
}

TEST_CASE("qmp: no greeting in time, a second greeting, commands before the first") {
  lab in(false);
  SECTION("none") {
    CHECK(in.client->wait_ready(50ms).error().code() == errc::timeout);
    CHECK(in.client->wait_ready(50ms).error().code() == errc::timeout);
  }
  SECTION("two") {
    in.qemu.greet();
    REQUIRE(in.client->wait_ready(20s));
    in.qemu.say(json{{"QMP", json::object()}});
    auto reply = in.call("one");
    const auto command = in.qemu.next();
    CHECK(command["execute"] == "one");
    in.qemu.answer(command, 1);
    CHECK(*reply.get() == 1);
  }
}

TEST_CASE("qmp: a client's end answers its open calls") {
  lab in;
  auto reply = in.call("query-status", 60s);
  in.qemu.next();
  auto* client = in.client.release();
  auto ended = std::async(std::launch::async, [client] { delete client; });
  CHECK(ended.wait_for(2s) == std::future_status::ready);
  CHECK(reply.get().error().code() == errc::unavailable);
}
