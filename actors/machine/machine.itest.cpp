// Machine actors with real agents, crun and busybox. Needs root.
#include <poll.h>
#include <sys/socket.h>

#include <filesystem>

#include "actors/machine/testing/small_daemon.hpp"
#include "vm/qemu/machine_files.hpp"

namespace arca {
engine_context::engine_context() = default;
engine_context::~engine_context() = default;
}  // namespace arca

using namespace arca;
using namespace arca::testing;

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
  const auto asked = time(nullptr);
  auto table = d.ask<process_list>(box, list);
  REQUIRE(table);
  const auto init = std::find_if(table->processes.begin(), table->processes.end(),
                                 [&](const process_facts& each) { return each.pid == started->pid; });
  REQUIRE(init != table->processes.end());
  CHECK(starts_with(init->stat, std::to_string(started->pid) + " (sh) "));
  CHECK(starts_with(init->command, std::string("sh\0-c\0", 6)));
  CHECK(init->uid == 0);
  CHECK(table->memory_kib > 0);
  CHECK(table->uptime > 0);
  CHECK(table->now >= asked);
  CHECK(table->now <= time(nullptr));

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
  for (int i = 0; i < 3000 && access(identity->dir.c_str(), F_OK) == 0; ++i) std::this_thread::sleep_for(10ms);
  CHECK(access(identity->dir.c_str(), F_OK) != 0);
}

TEST_CASE("starts and execs that fail say it in Docker's words and leave nothing") {
  vm::testing::lab in;
  small_daemon d(in);
  const std::string prefix =
      "failed to create task for container: failed to create shim task: OCI runtime create failed: "
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
  plan runs(in, {"sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 4"}),
      ended(in, {"sh", "-c", "echo last words; exit 6"}), lost(in, {"sleep", "99"});
  std::map<std::string, std::string> machines;
  int64_t ended_pid = 0;
  {
    small_daemon first(in);
    for (const auto* p : {&runs, &ended, &lost}) {
      if (p == &ended) first.make_io(p->id, "init", p->dir + "/log");
      auto started = first.ask<machine_started>(first.make(p->id), p->launch());
      INFO(why(started));
      REQUIRE(started);
      machines[p->id] = started->machine;
      if (p == &ended) ended_pid = started->pid;
    }
  }
  for (int i = 0; i < 3000 && ::kill(static_cast<pid_t>(ended_pid), 0) == 0; ++i) std::this_thread::sleep_for(10ms);
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
  start_process go;
  go.container_id = runs.id;
  go.process_id = "go";
  go.process = R"({"Cmd":["touch","/tmp/go"]})";
  CHECK(second.ask<process_started>(box, go));
  CHECK(second.told->of("init").exit_code == 4);
  CHECK(second.ask<void>(box, ack(runs.id, "init")));
  CHECK(second.ask<void>(ended_box, ack(ended.id, "init")));
  for (const auto* p : {&runs, &ended, &lost}) gone(in.cgroup_parent + "/" + p->id);
}

TEST_CASE("options reach the container") {
  vm::testing::lab in;
  small_daemon d(in);
  const auto shell = [](const char* text) { return std::vector<std::string>{"sh", "-c", text}; };
  const auto host = in.root + "/shared";
  REQUIRE(fs::make_dirs(host, 0755));
  REQUIRE(fs::write_file_atomic(host + "/file", "from the host\n", 0644));

  auto text = output_of(
      d, in, shell("cat /m/file; touch /m/x 2>&1; touch /w/y && echo wrote; mount | grep ' /t '; cat /etc/hosts"),
      [&](model::container_record& r, launch_machine&) {
        model::mount_point m;
        m.type = "bind";
        m.source = host;
        m.destination = "/m";
        m.read_write = false;
        r.mounts.push_back(m);
        m.destination = "/w";
        m.source = host + "/made";
        m.read_write = true;
        r.mounts.push_back(m);
        r.host_config["Tmpfs"] = {{"/t", "size=64k"}};
        r.host_config["ExtraHosts"] = {"db:192.0.2.10"};
      });
  contains(text, "from the host\n");
  contains(text, "Read-only file system");
  contains(text, "wrote\n");
  contains(text, "size=64k");
  contains(text, "192.0.2.10\tdb");
  CHECK(access((host + "/made/y").c_str(), F_OK) == 0);

  text = output_of(d, in,
                   shell("touch /x 2>&1; touch /dev/shm/x && echo shm; grep -E 'CapEff|NoNewPrivs' /proc/self/status"),
                   [](model::container_record& r, launch_machine&) {
                     r.host_config["ReadonlyRootfs"] = true;
                     r.host_config["CapDrop"] = {"ALL"};
                     r.host_config["SecurityOpt"] = {"no-new-privileges"};
                   });
  contains(text, "Read-only file system");
  contains(text, "shm\n");
  contains(text, "CapEff:\t0000000000000000");
  contains(text, "NoNewPrivs:\t1");

  text =
      output_of(d, in, shell("grep -E 'CapEff|Seccomp:' /proc/self/status; mount | grep 'sysfs'; ls /dev | grep kmsg"),
                [](model::container_record& r, launch_machine&) { r.host_config["Privileged"] = true; });
  contains(text, "Seccomp:\t0");
  contains(text, "sysfs (rw,");
  CHECK(text.find("CapEff:\t00000000a80425fb") == std::string::npos);

  text = output_of(
      d, in, shell("id; ps; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null"),
      [](model::container_record& r, launch_machine&) {
        r.config["User"] = "1000:50";
        r.host_config["GroupAdd"] = {"1234"};
        r.host_config["Init"] = true;
        r.host_config["Memory"] = 64 << 20;
        r.host_config["PidsLimit"] = 50;
        r.host_config["NanoCpus"] = 500000000;
      });
  contains(text, "uid=1000 gid=50 groups=50,1234");
  contains(text, "/sbin/docker-init --");
  contains(text, "67108864\n");

  text = output_of(d, in, shell("ip addr; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname"),
                   [](model::container_record&, launch_machine&) {});
  contains(text, ": lo: <LOOPBACK,UP");
  contains(text, "\n0\n");
  contains(text, "box\n");
}

TEST_CASE("the host's network, pid, ipc and uts namespaces") {
  vm::testing::lab in;
  small_daemon d(in);
  char own[256] = {};
  const auto n = readlink("/proc/self/ns/net", own, sizeof own - 1);
  REQUIRE(n > 0);
  const auto text = output_of(d, in, {"sh", "-c", "ls -l /proc/self/ns/net /proc/1/exe; hostname"},
                              [](model::container_record& r, launch_machine& l) {
                                endpoint e;
                                e.driver = "host";
                                l.endpoints = {e};
                                r.host_config["NetworkMode"] = "host";
                                r.host_config["PidMode"] = "host";
                                r.host_config["IpcMode"] = "host";
                                r.host_config["UTSMode"] = "host";
                              });
  contains(text, own);
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  contains(text, name);
}

TEST_CASE("a bridge") {
  vm::testing::lab in;
  small_daemon d(in);
  const std::string bridge = "vmt" + random_hex(3);
  net::bridge_spec spec;
  spec.name = bridge;
  spec.address = *net::parse_subnet4("10.211.77.1/24");
  REQUIRE(net::ensure_bridge(spec));
  const auto text = output_of(d, in, {"sh", "-c", "ip addr show eth0; ip route; cat /etc/hosts"},
                              [&](model::container_record&, launch_machine& l) {
                                endpoint e;
                                e.driver = "bridge";
                                e.bridge = bridge;
                                e.host_device = "veth" + random_hex(3);
                                e.mac = "02:42:0a:d3:4d:05";
                                e.ip4 = "10.211.77.5";
                                e.prefix4 = 24;
                                e.gateway4 = "10.211.77.1";
                                l.endpoints = {e};
                              });
  contains(text, "inet 10.211.77.5/24");
  contains(text, "02:42:0a:d3:4d:05");
  contains(text, "default via 10.211.77.1 dev eth0");
  contains(text, "10.211.77.5\tbox");
  CHECK(net::remove_link(bridge));
}

TEST_CASE("an exec has the container's filter; a tty has its size") {
  vm::testing::lab in;
  small_daemon d(in);
  plan p(in, {"sh", "-c", "stty size; sleep 100"});
  p.record.config["Tty"] = true;
  p.record.host_config["ConsoleSize"] = {33, 77};
  auto io = [&] {
    process_io::options o;
    o.tty = true;
    auto made = process_io::make(*d.ctx.stdio, o);
    d.ctx.processes->put(p.id, "init", made);
    return made;
  }();
  stream client;
  attach(io, client);
  auto box = d.make(p.id);
  auto started = d.ask<machine_started>(box, p.launch());
  INFO(why(started));
  REQUIRE(started);
  std::string shown;
  while (shown.find("33 77") == std::string::npos) {
    const auto got = client.output->read_blocking();
    REQUIRE_FALSE(got.empty());
    for (const auto& each : got) shown += *each;
  }
  auto exec_io = d.make_io(p.id, "e");
  stream exec_client;
  attach(exec_io, exec_client);
  start_process s;
  s.container_id = p.id;
  s.process_id = "e";
  s.process = R"({"Cmd":["grep","-E","Seccomp:|CapEff","/proc/self/status"]})";
  REQUIRE(d.ask<process_started>(box, s));
  CHECK(d.told->of("e").exit_code == 0);
  exec_io->finish();
  const auto text = all_of(exec_client);
  contains(text, "Seccomp:\t2");
  contains(text, "CapEff:\t00000000a80425fb");
  machine_stats stats;
  stats.container_id = p.id;
  auto numbers = d.ask<json_document>(box, stats);
  REQUIRE(numbers);
  contains(numbers->text, "memory_stats");
  pause_machine pause;
  pause.container_id = p.id;
  CHECK(d.ask<void>(box, pause));
  pause.pause = false;
  CHECK(d.ask<void>(box, pause));
  signal_process kill;
  kill.container_id = p.id;
  kill.process_id = "init";
  kill.signal = SIGKILL;
  CHECK(d.ask<void>(box, kill));
  CHECK(d.told->of("init").exit_code == 137);
  io->finish();
  CHECK(d.ask<void>(box, ack(p.id, "init")));
  gone(in.cgroup_parent + "/" + p.id);
}

TEST_CASE("statistics that are none are nobody's statistics") {
  for (const auto& [how, good] : {std::pair("good", true), {"invalid", false}, {"deep", false}, {"number", false}}) {
    INFO(how);
    vm::testing::lab in;
    const auto real = in.settings.guest_path;
    in.settings.guest_path = in.root + "/arca-guest";
    std::filesystem::create_symlink(real.substr(0, real.rfind('/')) + "/arca-hostile-guest", in.settings.guest_path);
    REQUIRE(fs::write_file_atomic(in.settings.guest_path + ".wish", std::string("Stats:") + how));
    small_daemon d(in);
    plan p(in, {"true"});
    auto box = d.make(p.id);
    auto started = d.ask<machine_started>(box, p.launch());
    INFO(why(started));
    REQUIRE(started);
    machine_stats wanted;
    wanted.container_id = p.id;
    const auto got = d.ask<json_document>(box, wanted);
    CHECK(got.has_value() == good);
    if (!good) CHECK(why(got) == "the machine's agent sent no statistics");
    kill_machine kill;
    kill.container_id = p.id;
    CHECK(d.ask<void>(box, kill));
    CHECK(d.told->of("init").exit_code == 137);
    CHECK(d.ask<void>(box, ack(p.id, "init")));
    gone(vm::identity_from_json(started->machine)->cgroup);
  }
}

TEST_CASE("an embedder's calls of a machine on the host's kernel") {
  const vm::testing::lab in;
  small_daemon d(in);
  const plan p(in, {"sleep", "100"});
  auto box = d.make(p.id);
  dial_machine dial;
  dial.container_id = p.id;
  dial.address = "unix:/none";
  CHECK(why(d.ask<dialled_stream>(box, dial)) == "container " + p.id + " is not running");
  const auto started = d.ask<machine_started>(box, p.launch());
  REQUIRE(started);
  CHECK(why(d.ask<dialled_stream>(box, dial)) == "unix:/none: open /none: No such file or directory");
  dial.address = "nowhere";
  CHECK(d.ask<dialled_stream>(box, dial).error().code() == errc::invalid_argument);

  const auto refused = [&](auto message) {
    const auto answer = d.ask<void>(box, std::move(message));
    return !answer && answer.error().code() == errc::conflict &&
           contains(answer.error().message(), "only a VM has one of its own");
  };
  CHECK(refused(write_machine_file()));
  CHECK(refused(make_machine_folder()));
  CHECK(refused(mount_in_machine()));
  CHECK(refused(unmount_in_machine()));
  CHECK(refused(set_machine_sysctls()));
  CHECK(refused(set_machine_time()));
  CHECK(refused(set_up_machine_emulator()));

  set_machine_interface lo;
  lo.name = "lo";
  CHECK(d.ask<void>(box, lo));
  change_machine_route route;
  route.destination = "10.9.0.0/16";
  route.interface = "lo";
  CHECK(d.ask<void>(box, route));
  remove_machine_interface none;
  none.name = "none0";
  CHECK(why(d.ask<void>(box, none)) == "no network device none0");
  configure_machine_interface nic;
  nic.name = "none0";
  CHECK(why(d.ask<void>(box, nic)) == "no network device none0");

  // A socket of the container on the host, from both sides.
  publish_socket out;
  out.container_id = p.id;
  out.path = "/inside";
  out.host_path = in.root + "/outside";
  REQUIRE(d.ask<void>(box, out));
  CHECK(d.ask<void>(box, out).error().code() == errc::conflict);
  auto client = vm::connect_to(out.host_path, 1000);
  REQUIRE(client);
  pollfd ended{client->get(), POLLIN, 0};
  REQUIRE(poll(&ended, 1, 5000) == 1);
  char byte = 0;
  CHECK(recv(client->get(), &byte, 1, 0) == 0);  // nobody listens inside
  const auto inside = vm::listen_at("/proc/" + std::to_string(started->pid) + "/root/inside");
  REQUIRE(inside);
  client = vm::connect_to(out.host_path, 1000);
  REQUIRE(client);
  const unique_fd server(accept4(inside->get(), nullptr, nullptr, SOCK_CLOEXEC));
  REQUIRE(server);
  REQUIRE(fs::write_all(client->get(), "hello"));
  char text[6] = {};
  REQUIRE(recv(server.get(), text, 5, MSG_WAITALL) == 5);
  CHECK(std::string(text) == "hello");

  kill_machine kill;
  kill.container_id = p.id;
  CHECK(d.ask<void>(box, kill));
  d.told->of("init");
  CHECK(d.ask<void>(box, ack(p.id, "init")));
  for (int i = 0; i < 4000 && access(out.host_path.c_str(), F_OK) == 0; ++i) std::this_thread::sleep_for(5ms);
  CHECK(access(out.host_path.c_str(), F_OK) != 0);
}
