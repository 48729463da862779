// A container in a test machine, its processes and what they write. Each fails the test that calls it.
#pragma once
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "guest/proto/stdio_frame.hpp"
#include "vm/channel/test_machine.hpp"

namespace arca::vm::testing {

// A container of busybox that lives as long as its machine.
inline constexpr const char* container_id = "c1";
inline void start_container(agent_client& agent, const std::vector<std::string>& argv, bool own_pids = true) {
  REQUIRE(call([&](auto done) { agent.configure({"machine1", "host1", "", "", {}}, limit, done); }));
  nlohmann::json spec = {
      {"ociVersion", "1.0.2"},
      {"root", {{"path", "rootfs"}}},
      {"hostname", "box"},
      {"process",
       {{"args", argv},
        {"cwd", "/"},
        {"env", {"PATH=/bin"}},
        {"user", {{"uid", 0}, {"gid", 0}}},
        {"capabilities",
         {{"bounding", {"CAP_SYS_TIME"}}, {"effective", {"CAP_SYS_TIME"}}, {"permitted", {"CAP_SYS_TIME"}}}}}},
      {"mounts", {{{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}}}},
      {"linux",
       {{"cgroupsPath", "/arca/c1"},
        {"namespaces", {{{"type", "pid"}}, {{"type", "mount"}}, {{"type", "ipc"}}, {{"type", "uts"}}}}}}};
  if (!own_pids) spec["linux"]["namespaces"].erase(0);
  agent_container what;
  what.container_id = container_id;
  what.oci_spec = spec.dump();
  // As a share would be: mounted, not attached, kept for this call.
  REQUIRE(call([&](auto done) { agent.mount({"bind", "/testroot", "", "", "root"}, limit, done); }));
  what.rootfs = "root";
  const auto started = wait_for<agent_started>([&](auto done) { agent.create_container(what, limit, done); });
  INFO(why(started));
  REQUIRE(started);
}

inline stdio::hello hello_of(const std::string& process, uint64_t generation, uint64_t first = 1) {
  stdio::hello hello;
  hello.generation = generation;
  hello.first_sequence = first;
  REQUIRE(stdio::set_name(hello.container_id, container_id));
  REQUIRE(stdio::set_name(hello.process_id, process));
  return hello;
}

inline unique_fd connect_stdio(agent_client& agent, const std::string& process, uint64_t generation,
                               uint64_t first = 1) {
  auto mine = agent.stdio(hello_of(process, generation, first));
  REQUIRE(mine);
  return std::move(*mine);
}

inline agent_exec exec_of(const std::string& process, const std::vector<std::string>& argv) {
  agent_exec what;
  what.container_id = container_id;
  what.process_id = process;
  what.oci_process =
      nlohmann::json({{"args", argv}, {"cwd", "/"}, {"env", {"PATH=/bin"}}, {"user", {{"uid", 0}, {"gid", 0}}}}).dump();
  what.stdio.spool_limit = 1 << 20;
  return what;
}

inline void exec(agent_client& agent, const std::string& process, const std::vector<std::string>& argv) {
  const auto what = exec_of(process, argv);
  const auto started = wait_for<agent_started>([&](auto done) { agent.exec(what, limit, done); });
  INFO(why(started));
  REQUIRE(started);
}

inline bool read_whole(int fd, void* into, size_t size) {
  return recv(fd, into, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}
// Output of a process up to its end, or up to `most` bytes. Acknowledges what it reads. `last`: the last frame.
inline std::string read_output(int fd, size_t most = SIZE_MAX, bool keep = true, stdio::frame* last = nullptr) {
  std::string out, payload;
  size_t count = 0;
  stdio::frame own;
  for (stdio::frame& head = last ? *last : own; count < most;) {
    if (!read_whole(fd, &head, sizeof head) || head.length > stdio::max_payload) return out + "<broken>";
    payload.resize(head.length);
    if (head.length > 0 && !read_whole(fd, payload.data(), head.length)) return out + "<broken>";
    if (head.kind == stdio::frame_kind::end) break;
    if (head.kind != stdio::frame_kind::output) continue;
    count += head.length;
    if (keep) out += payload;
    stdio::frame ack;
    ack.kind = stdio::frame_kind::ack;
    ack.sequence = head.sequence;
    (void)send(fd, &ack, sizeof ack, MSG_NOSIGNAL);
  }
  return out;
}

}  // namespace arca::vm::testing
