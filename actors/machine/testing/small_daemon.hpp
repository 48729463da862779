// For integration tests of machines: a daemon that has only a machine manager, containers to launch in it, and the
// reports that an observer gets.
#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <catch2/catch.hpp>
#include <condition_variable>

#include "actors/core/ask.hpp"
#include "actors/core/context.hpp"
#include "actors/machine/machine_manager.hpp"
#include "actors/model/container_record.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/network/links.hpp"
#include "vm/qemu/vm_status.hpp"
#include "vm/testing/busybox.hpp"

namespace arca::testing {

using namespace std::chrono_literals;

struct reports {
  std::mutex lock;
  std::condition_variable changed;
  std::vector<machine_exited> exits;
  int ooms = 0, unresponsive = 0;

  machine_exited of(const std::string& process, std::chrono::milliseconds limit = 30s) {
    std::unique_lock guard(lock);
    machine_exited found;
    const bool there = changed.wait_for(guard, limit, [&] {
      for (const auto& e : exits)
        if (e.process_id == process) {
          found = e;
          return true;
        }
      return false;
    });
    INFO("exit of " << process);
    REQUIRE(there);
    return found;
  }
};

class observer : public tracked<machine_observer_actor::base> {
 public:
  observer(caf::actor_config& config, introspection& table, std::shared_ptr<reports> into)
      : tracked(config, table, "/observer", "observer"), into_(std::move(into)) {}
  behavior_type make_behavior() override {
    const auto note = [into = into_](auto change) {
      const std::lock_guard guard(into->lock);
      change();
      into->changed.notify_all();
    };
    return {[=, this](const machine_exited& e) { note([&] { into_->exits.push_back(e); }); },
            [=, this](const machine_oom&) { note([&] { ++into_->ooms; }); },
            [=, this](const machine_unresponsive&) { note([&] { ++into_->unresponsive; }); }};
  }

 private:
  std::shared_ptr<reports> into_;
};

/// One daemon: an actor system with a machine manager on the lab's folders.
struct small_daemon {
  caf::actor_system_config config;
  engine_context ctx;
  std::unique_ptr<caf::actor_system> system;
  std::shared_ptr<reports> told = std::make_shared<reports>();
  machine_observer_actor watcher;

  explicit small_daemon(const vm::testing::lab& in) {
    config.set("scheduler.policy", caf::atom("sharing"));
    config.set("scheduler.max-threads", size_t{2});
    system = std::make_unique<caf::actor_system>(config);
    ctx.config.run_root = in.settings.run_root;
    ctx.config.guest_path = in.settings.guest_path;
    ctx.config.cgroup_parent = in.cgroup_parent;
    ctx.config.agent_pool = 2;
    ctx.port = std::make_unique<async_port>(*system);
    ctx.pool = std::make_unique<blocking_pool>(16);
    ctx.actors = std::make_unique<introspection>();
    ctx.stdio = std::make_unique<stdio_service>(1);
    ctx.streams = std::make_unique<stream_registry>();
    ctx.processes = std::make_unique<process_io_registry>();
    ctx.vms = std::make_shared<vm::published_vm_status>();
    ctx.machines = spawn_machine_manager(*system, ctx);
    watcher = watch(told);
  }
  ~small_daemon() {
    caf::anon_send_exit(ctx.machines, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(watcher, caf::exit_reason::user_shutdown);
    ctx.machines = nullptr;
    watcher = nullptr;
    ctx.actors->await_empty(20s);
    ctx.port.reset();
    system.reset();
    ctx.processes.reset();
    ctx.streams.reset();
    ctx.stdio.reset();
    ctx.pool.reset();
  }
  machine_observer_actor watch(std::shared_ptr<reports> into) {
    return system->spawn<observer>(*ctx.actors, std::move(into));
  }
  template <class Answer, class Handle, class Message>
  result<Answer> ask(const Handle& to, Message message) {
    return ask_sync(*system, to, 30s, std::move(message));
  }
  machine_actor make(const std::string& id) {
    make_machine order;
    order.container_id = id;
    order.observer = watcher;
    auto made = ask<machine_actor>(ctx.machines, order);
    REQUIRE(made);
    return *made;
  }
  /// A container's output: everything until the process_io ends.
  std::shared_ptr<process_io> make_io(const std::string& id, const std::string& process, const std::string& log = {}) {
    process_io::options o;
    o.log.path = log;
    auto io = process_io::make(*ctx.stdio, o);
    ctx.processes->put(id, process, io);
    return io;
  }
};

struct plan {
  std::string id = random_hex(32);
  model::container_record record;
  std::string dir;
  plan(const vm::testing::lab& in, std::vector<std::string> args) {
    dir = in.root + "/containers/" + id;
    REQUIRE(fs::make_dirs(dir + "/upper", 0755));
    REQUIRE(fs::make_dirs(dir + "/work", 0700));
    record.id = id;
    record.name = "box";
    record.config = {{"Hostname", "box"},
                     {"Domainname", ""},
                     {"Cmd", args},
                     {"Entrypoint", nullptr},
                     {"Env", nlohmann::json::array()},
                     {"User", ""},
                     {"WorkingDir", ""},
                     {"Tty", false}};
    record.host_config = {{"NetworkMode", "none"},
                          {"ShmSize", 1 << 20},
                          {"CgroupnsMode", "host"},
                          {"Privileged", false},
                          {"MaskedPaths", nlohmann::json::array()},
                          {"ReadonlyPaths", nlohmann::json::array()}};
    record.networking = nlohmann::json::object();
    record.layers = {in.layer};
    record.runtime = "namespace";
    record.generation = 1;
  }
  launch_machine launch() const {
    launch_machine l;
    l.container_id = id;
    l.generation = record.generation;
    l.runtime = "namespace";
    l.record = model::to_document(record);
    l.layers = record.layers;
    l.container_dir = dir;
    return l;
  }
};

inline std::string all_of(const stream& s) {
  std::string out;
  for (;;) {
    const auto got = s.output->read_blocking();
    if (got.empty()) return out;
    for (const auto& chunk : got) out += *chunk;
  }
}
inline std::shared_ptr<byte_channel> attach(const std::shared_ptr<process_io>& io, stream& into) {
  attach_options o;
  o.out = o.err = true;
  o.framed = false;
  into = io->attach(o);
  return into.output;
}
inline std::string why(const auto& r) {
  return r ? "" : r.error().message();
}

inline acknowledge_exit ack(const std::string& id, const std::string& process) {
  acknowledge_exit a;
  a.container_id = id;
  a.process_id = process;
  return a;
}

inline void gone(const std::string& cgroup) {
  const auto where =
      vm::cgroup_tree::host().folder(vm::cgroup_tree::host().mode() == vm::cgroup_mode::v2 ? "" : "pids", cgroup);
  for (int i = 0; i < 3000 && access(where.c_str(), F_OK) == 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK(access(where.c_str(), F_OK) != 0);
}

/// Runs a command to its end and gives its output; `change` may alter record and launch.
template <class Change>
std::string output_of(small_daemon& d, const vm::testing::lab& in, std::vector<std::string> args, Change change) {
  plan p(in, std::move(args));
  auto l = p.launch();
  change(p.record, l);
  l.record = model::to_document(p.record);
  auto io = d.make_io(p.id, "init");
  stream client;
  attach(io, client);
  auto box = d.make(p.id);
  auto started = d.ask<machine_started>(box, l);
  INFO(why(started));
  REQUIRE(started);
  d.told->of("init");
  d.told->exits.clear();
  io->finish();
  CHECK(d.ask<void>(box, ack(p.id, "init")));
  gone(vm::identity_from_json(started->machine)->cgroup);
  return all_of(client);
}
inline bool contains(const std::string& text, const std::string& part) {
  INFO(text);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace arca::testing
