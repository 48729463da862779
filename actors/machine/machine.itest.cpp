// Machine actors with real agents, crun and busybox. Needs root.
#include <signal.h>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scoped_actor.hpp>
#include <caf/typed_event_based_actor.hpp>
#include <catch2/catch.hpp>
#include <condition_variable>

#include "actors/core/context.hpp"
#include "actors/machine/machine_manager.hpp"
#include "actors/model/container_record.hpp"
#include "actors/streams/process_io_registry.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/cgroup.hpp"
#include "vm/testing/busybox.hpp"

namespace arca {
engine_context::engine_context() = default;
engine_context::~engine_context() = default;
}  // namespace arca

using namespace arca;
using namespace std::chrono_literals;

namespace {

struct reports {
  std::mutex lock;
  std::condition_variable changed;
  std::vector<machine_exited> exits;
  int ooms = 0, unresponsive = 0;

  machine_exited of(const std::string& process, std::chrono::milliseconds limit = 6s) {
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

machine_observer_actor::behavior_type observer(machine_observer_actor::pointer, std::shared_ptr<reports> into) {
  const auto note = [into](auto change) {
    const std::lock_guard guard(into->lock);
    change();
    into->changed.notify_all();
  };
  return {[=](const machine_exited& e) { note([&] { into->exits.push_back(e); }); },
          [=](const machine_oom&) { note([&] { ++into->ooms; }); },
          [=](const machine_unresponsive&) { note([&] { ++into->unresponsive; }); }};
}

/// One daemon: an actor system with a machine manager on the lab's folders.
struct small_daemon {
  caf::actor_system_config config;
  engine_context ctx;
  std::unique_ptr<caf::actor_system> system;
  std::shared_ptr<reports> told = std::make_shared<reports>();
  machine_observer_actor watcher;

  explicit small_daemon(const vm::testing::lab& in) {
    config.set("scheduler.max-threads", 2);
    system = std::make_unique<caf::actor_system>(config);
    ctx.config.run_root = in.settings.run_root;
    ctx.config.guest_path = in.settings.guest_path;
    ctx.config.cgroup_parent = in.cgroup_parent;
    ctx.config.agent_pool = 2;
    ctx.port = std::make_unique<async_port>(*system);
    ctx.pool = std::make_unique<blocking_pool>(16);
    ctx.actors = std::make_unique<introspection>();
    ctx.stdio = std::make_unique<stdio_service>(1);
    ctx.processes = std::make_unique<process_io_registry>();
    ctx.machines = spawn_machine_manager(*system, ctx);
    watcher = system->spawn(observer, told);
  }
  ~small_daemon() {
    caf::anon_send_exit(ctx.machines, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(watcher, caf::exit_reason::user_shutdown);
    ctx.machines = nullptr;
    watcher = nullptr;
    ctx.port.reset();
    system.reset();
    ctx.processes.reset();
    ctx.stdio.reset();
    ctx.pool.reset();
  }
  template <class Answer, class Handle, class Message>
  result<Answer> ask(const Handle& to, Message message) {
    caf::scoped_actor self(*system);
    result<Answer> out = fail(errc::internal, "no answer");
    if constexpr (std::is_void_v<Answer>) {
      self->request(to, 30s, std::move(message)).receive([&] { out = {}; }, [&](caf::error& e) { out = fail(from_caf(e)); });
    } else {
      self->request(to, 30s, std::move(message))
          .receive([&](Answer& a) { out = std::move(a); }, [&](caf::error& e) { out = fail(from_caf(e)); });
    }
    return out;
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
    record.config = {{"Hostname", "box"}, {"Domainname", ""}, {"Cmd", args}, {"Entrypoint", nullptr},
                     {"Env", nlohmann::json::array()}, {"User", ""}, {"WorkingDir", ""}, {"Tty", false}};
    record.host_config = {{"NetworkMode", "none"}, {"ShmSize", 1 << 20}, {"CgroupnsMode", "host"}, {"Privileged", false},
                          {"MaskedPaths", nlohmann::json::array()}, {"ReadonlyPaths", nlohmann::json::array()}};
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

std::string all_of(const stream& s) {
  std::string out;
  for (;;) {
    const auto got = s.output->read_blocking();
    if (got.empty()) return out;
    for (const auto& chunk : got) out += *chunk;
  }
}
std::shared_ptr<byte_channel> attach(const std::shared_ptr<process_io>& io, stream& into) {
  attach_options o;
  o.out = o.err = true;
  o.framed = false;
  into = io->attach(o);
  return into.output;
}
std::string why(const auto& r) { return r ? "" : r.error().message(); }

acknowledge_exit ack(const std::string& id, const std::string& process) {
  acknowledge_exit a;
  a.container_id = id;
  a.process_id = process;
  return a;
}

void gone(const std::string& cgroup) {
  const auto where = vm::cgroup_tree::host().folder(vm::cgroup_tree::host().mode() == vm::cgroup_mode::v2 ? "" : "pids", cgroup);
  for (int i = 0; i < 400 && access(where.c_str(), F_OK) == 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK(access(where.c_str(), F_OK) != 0);
}

}  // namespace

TEST_CASE("launch, output, exec, exit, teardown") {
  vm::testing::lab in;
  small_daemon d(in);
  plan p(in, {"sh", "-c", "echo hello; cat /etc/hostname; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 5"});
  auto io = d.make_io(p.id, "init");
  stream client;
  attach(io, client);
  auto box = d.make(p.id);
  auto started = d.ask<machine_started>(box, p.launch());
  INFO(why(started));
  REQUIRE(started);
  CHECK(started->pid > 0);
  const auto identity = vm::identity_from_json(started->machine);
  REQUIRE(identity);

  auto exec_io = d.make_io(p.id, "exec1");
  stream exec_client;
  attach(exec_io, exec_client);
  start_process s;
  s.container_id = p.id;
  s.process_id = "exec1";
  s.process = R"({"Cmd":["sh","-c","echo in exec; id -u; exit 9"],"AttachStdout":true,"Env":["X=1"]})";
  auto exec = d.ask<process_started>(box, s);
  INFO(why(exec));
  REQUIRE(exec);
  CHECK(d.told->of("exec1").exit_code == 9);
  exec_io->finish();
  CHECK(all_of(exec_client) == "in exec\n0\n");
  CHECK(d.ask<void>(box, ack(p.id, "exec1")));

  list_processes list;
  list.container_id = p.id;
  auto pids = d.ask<process_list>(box, list);
  REQUIRE(pids);
  CHECK(std::find(pids->pids.begin(), pids->pids.end(), started->pid) != pids->pids.end());

  s.process_id = "exec2";
  s.process = R"({"Cmd":["touch","/tmp/go"]})";
  CHECK(d.ask<process_started>(box, s));
  const auto end = d.told->of("init");
  CHECK(end.exit_code == 5);
  CHECK(end.error.empty());
  CHECK(end.generation == 1);
  io->finish();
  CHECK(all_of(client) == "hello\nbox\n");
  CHECK(d.ask<void>(box, ack(p.id, "init")));
  gone(identity->cgroup);
  for (int i = 0; i < 200 && access(identity->dir.c_str(), F_OK) == 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK(access(identity->dir.c_str(), F_OK) != 0);
}

TEST_CASE("starts and execs that fail say it in Docker's words and leave nothing") {
  vm::testing::lab in;
  small_daemon d(in);
  const std::string prefix = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
                             "runc create failed: unable to start container process: ";
  const auto refused = [&](std::vector<std::string> args, auto change) {
    plan p(in, std::move(args));
    change(p.record);
    auto started = d.ask<machine_started>(d.make(p.id), p.launch());
    REQUIRE_FALSE(started);
    return started.error();
  };
  const auto nothing = [](model::container_record&) {};
  auto e = refused({"nosuchcmd", "x"}, nothing);
  CHECK(e.code() == errc::invalid_argument);
  CHECK(e.message() == prefix + "exec: \"nosuchcmd\": executable file not found in $PATH");
  CHECK(refused({"/no/such/binary"}, nothing).message() ==
        prefix + "exec: \"/no/such/binary\": stat /no/such/binary: no such file or directory");
  CHECK(refused({"/etc/passwd"}, nothing).message() == prefix + "exec: \"/etc/passwd\": permission denied");
  CHECK(refused({"/etc"}, nothing).message() == prefix + "exec: \"/etc\": permission denied");
  CHECK(refused({""}, nothing).message() == prefix + "exec: \"\": executable file not found in $PATH");
  e = refused({"true"}, [](auto& r) { r.config["User"] = "nosuchuser"; });
  CHECK(e.message() == "unable to find user nosuchuser: no matching entries in passwd file");
  CHECK(e.code() == errc::internal);
  e = refused({"true"}, [](auto& r) { r.host_config["Dns"] = {"not-an-ip"}; });
  CHECK(e.message() == "bad nameserver address not-an-ip: ParseAddr(\"not-an-ip\"): unable to parse IP");
  plan p(in, {"sleep", "100"});
  auto box = d.make(p.id);
  REQUIRE(d.ask<machine_started>(box, p.launch()));
  const auto exec = [&](const char* config) {
    start_process s;
    s.container_id = p.id;
    s.process_id = random_hex(32);
    s.process = config;
    auto r = d.ask<process_started>(box, s);
    REQUIRE_FALSE(r);
    return r.error();
  };
  const std::string exec_prefix = "OCI runtime exec failed: exec failed: unable to start container process: ";
  e = exec(R"({"Cmd":["/no/such"]})");
  CHECK(e.code() == errc::invalid_argument);
  CHECK(e.message() == exec_prefix + "exec: \"/no/such\": stat /no/such: no such file or directory");
  CHECK(exec(R"({"Cmd":["/etc/passwd"]})").message() == exec_prefix + "exec: \"/etc/passwd\": permission denied");
  CHECK(exec(R"({"Cmd":["id"],"WorkingDir":"/no/such/dir"})").message() ==
        exec_prefix + "chdir to cwd (\"/no/such/dir\") set in config.json failed: no such file or directory");
  kill_machine k;
  k.container_id = p.id;
  CHECK(d.ask<void>(box, k));
  CHECK(d.told->of("init").exit_code == 137);
  CHECK(d.ask<void>(box, ack(p.id, "init")));
  gone(in.cgroup_parent + "/" + p.id);
  CHECK(vm::cgroup_tree::host().children(in.cgroup_parent).empty());
}

TEST_CASE("an agent that dies or does not answer") {
  vm::testing::lab in;
  small_daemon d(in);
  plan p(in, {"sleep", "1000"});
  auto box = d.make(p.id);
  auto started = d.ask<machine_started>(box, p.launch());
  REQUIRE(started);
  auto identity = vm::identity_from_json(started->machine);
  REQUIRE(identity);
  SECTION("killed") {
    REQUIRE(::kill(static_cast<pid_t>(identity->pid), SIGKILL) == 0);
    const auto end = d.told->of("init");
    CHECK(end.exit_code == 137);
    CHECK(end.error == "the machine's agent ended unexpectedly");
  }
  SECTION("stopped") {
    REQUIRE(::kill(static_cast<pid_t>(identity->pid), SIGSTOP) == 0);
    kill_machine k;
    k.container_id = p.id;
    CHECK(d.ask<void>(box, k));
    const auto end = d.told->of("init");
    CHECK(end.exit_code == 137);
    CHECK(end.error == "the machine's agent did not answer and was killed");
  }
  CHECK(vm::cgroup_tree::host().processes(identity->cgroup).empty());
  CHECK(d.ask<void>(box, ack(p.id, "init")));
  gone(identity->cgroup);
}

TEST_CASE("a later daemon adopts: running, ended meanwhile, agent gone") {
  vm::testing::lab in;
  plan runs(in, {"sh", "-c", "sleep 2; exit 4"}), ended(in, {"sh", "-c", "echo last words; exit 6"}), lost(in, {"sleep", "99"});
  std::map<std::string, std::string> machines;
  {
    small_daemon first(in);
    for (const auto* p : {&runs, &ended, &lost}) {
      if (p == &ended) first.make_io(p->id, "init", p->dir + "/log");
      auto started = first.ask<machine_started>(first.make(p->id), p->launch());
      INFO(why(started));
      REQUIRE(started);
      machines[p->id] = started->machine;
    }
  }
  std::this_thread::sleep_for(200ms);
  const auto dead = vm::identity_from_json(machines[lost.id]);
  REQUIRE(dead);
  REQUIRE(::kill(static_cast<pid_t>(dead->pid), SIGKILL) == 0);

  small_daemon second(in);
  const auto adopt = [&](const plan& p) {
    adopt_machine a;
    a.container_id = p.id;
    a.generation = 1;
    a.machine = machines[p.id];
    a.record = model::to_document(p.record);
    return a;
  };
  auto box = second.make(runs.id);
  auto found = second.ask<adopted_machine>(box, adopt(runs));
  INFO(why(found));
  REQUIRE(found);
  CHECK(found->running);
  CHECK(found->pid > 0);

  second.make_io(ended.id, "init", ended.dir + "/log");
  auto ended_box = second.make(ended.id);
  auto exit = second.ask<adopted_machine>(ended_box, adopt(ended));
  INFO(why(exit));
  REQUIRE(exit);
  CHECK(exit->exited);
  CHECK(exit->exit_code == 6);
  CHECK(exit->exited_at > 0);
  const auto log = fs::read_file(ended.dir + "/log");
  REQUIRE(log);
  CHECK(log->find("last words") != std::string::npos);
  CHECK(log->find("last words") == log->rfind("last words"));

  auto nothing = second.ask<adopted_machine>(second.make(lost.id), adopt(lost));
  REQUIRE_FALSE(nothing);
  CHECK(nothing.error().code() == errc::gone);

  sweep_machines sweep;
  CHECK(second.ask<void>(second.ctx.machines, sweep));
  CHECK(second.told->of("init").exit_code == 4);
  CHECK(second.ask<void>(box, ack(runs.id, "init")));
  CHECK(second.ask<void>(ended_box, ack(ended.id, "init")));
  for (const auto* p : {&runs, &ended, &lost}) gone(in.cgroup_parent + "/" + p->id);
}

TEST_CASE("cycles per second", "[bench]") {
  vm::testing::lab in;
  small_daemon d(in);
  sweep_machines sweep;
  REQUIRE(d.ask<void>(d.ctx.machines, sweep));
  std::this_thread::sleep_for(500ms);
  std::vector<double> starts;
  for (int i = 0; i < 20; ++i) {
    plan p(in, {"true"});
    d.make_io(p.id, "init");
    auto box = d.make(p.id);
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(d.ask<machine_started>(box, p.launch()));
    starts.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    d.told->of("init");
    d.told->exits.clear();
    CHECK(d.ask<void>(box, ack(p.id, "init")));
    std::this_thread::sleep_for(100ms);
  }
  std::sort(starts.begin(), starts.end());
  WARN("launch to started: p50 " << starts[10] << " ms, min " << starts[0] << " ms");
}
