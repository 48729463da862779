// For the integration tests of vm/qemu: single steps of a start, and what is looked at after them.
#pragma once
#include <fcntl.h>
#include <sys/mount.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>

#include "guest/proto/vm_start.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/network/links.hpp"
#include "vm/process.hpp"
#include "vm/qemu/machine_files.hpp"
#include "vm/qemu/qemu_machine.hpp"
#include "vm/qemu/testing/vm_lab.hpp"

namespace arca::vm::testing {

template <class T>
T must(result<T> value) {
  if (!value) FAIL(value.error().message());
  return std::move(*value);
}
inline void must(const result<void>& value) {
  if (!value) FAIL(value.error().message());
}

inline std::string stages_of(const machine& box) {
  std::string text;
  const auto record = must(read_machine_record(box.identity().dir));
  for (const auto& [name, ms] : record.stages) text += name + "=" + std::to_string(static_cast<int>(ms)) + "ms ";
  return text;
}

inline const std::string root_server = std::string("virtiofsd-") + vm_start::rootfs_tag;

/// Never 0: that would be the test's own group.
inline pid_t pid_of(const machine& box, const std::string& name) {
  for (const auto& p : must(read_machine_record(box.identity().dir)).processes)
    if (p.name == name && p.pid > 0) return static_cast<pid_t>(p.pid);
  FAIL("no process " + name);
  return -1;
}

inline result<void> write_inside(machine& box, const std::string& path, const std::string& content) {
  agent_file file;
  file.path = path;
  file.content = content;
  return wait_for<void>([&](auto done) { box.agent().write_file(file, std::chrono::seconds(10), std::move(done)); });
}

inline void configure(machine& box, const std::string& id) {
  agent_configuration configuration;
  configuration.machine_id = id;
  configuration.hostname = "box";
  configuration.machine_dir = box.identity().dir;
  configuration.cgroup_path = box.identity().cgroup;
  must(wait_for<void>(
      [&](auto done) { box.agent().configure(configuration, std::chrono::seconds(10), std::move(done)); }));
}

/// A file system of its own below a folder that is shared.
struct inner_mount {
  std::string at;
  explicit inner_mount(std::string where) : at(std::move(where)) {
    must(fs::make_dirs(at, 0755));
    REQUIRE(mount("tmpfs", at.c_str(), "tmpfs", 0, "size=1m") == 0);
  }
  ~inner_mount() { umount2(at.c_str(), MNT_DETACH); }
};

inline unique_fd opened(const std::string& path) {
  return unique_fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
}

inline const net::bridge_spec bridge{.name = "arcavm0", .address = *net::parse_subnet4("10.77.0.1/24")};

inline nic_spec nic_on_bridge(const std::string& name, const std::string& address) {
  nic_spec nic;
  nic.name = name;
  nic.host_name = "tap" + name;
  nic.bridge = bridge.name;
  nic.mac = "02:42:0a:4d:00:02";
  nic.addresses = {address + "/24"};
  nic.gateway4 = "10.77.0.1";
  return nic;
}

/// The exits that an agent reports.
struct exits {
  std::mutex lock;
  std::condition_variable changed;
  std::map<std::string, agent_exit> seen;
  void follow(agent_client& agent) {
    agent.subscribe(
        [this, &agent](const agent_event& e) {
          const std::lock_guard guard(lock);
          if (e.exit) seen[e.process_id] = *e.exit;
          changed.notify_all();
          agent.next_event();
        },
        [](const error&) {});
  }
  agent_exit of(const std::string& process) {
    std::unique_lock guard(lock);
    REQUIRE(changed.wait_for(guard, std::chrono::seconds(10), [&] { return seen.contains(process); }));
    return seen[process];
  }
};

inline bool answers_ping(const std::string& address) {
  return std::system(("busybox ping -c 1 -W 3 " + address + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace arca::vm::testing
