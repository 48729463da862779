// The real agent with its own launcher: what Docker does and crun does not, and ways out of a container that are none.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>

#include "guest/testing/container_run.hpp"

using namespace arca;
using namespace arca::guest;
using namespace arca::guest::testing;
using nlohmann::json;

namespace {
// What a process of a native container says, or what its start said.
outcome run_native(const change& apply, const std::string& script = "true", bool tty = false) {
  return run_container("native", script, apply, tty);
}
}  // namespace

TEST_CASE("a program that cannot be run ends as it does with Docker") {
  const auto with = [](const char* content) {
    return run_native([=](json& s, machine_fixture& m) {
      std::ofstream(m.rootfs + "/bin/bad") << content;
      chmod((m.rootfs + "/bin/bad").c_str(), 0755);
      s["process"]["args"] = {"/bin/bad"};
    });
  };
  const auto no_program = with("text");
  CHECK(no_program.text == "exec /bin/bad: exec format error\n");
  CHECK(no_program.code == 255);
  const auto no_interpreter = with("#!/no/such\n");
  CHECK(no_interpreter.text == "exec /bin/bad: no such file or directory\n");
  CHECK(no_interpreter.code == 255);
}

TEST_CASE("where the native launcher does as runc and crun does not") {
  const auto tmpfs = run_native(
      [](json& s, machine_fixture& m) {
        chmod((m.rootfs + "/tmp").c_str(), 01733);
        s["mounts"].push_back({{"destination", "/tmp"}, {"type", "tmpfs"}, {"source", "tmpfs"}});
      },
      "ls -ld /tmp | cut -c1-10; echo x >/proc/timer_list; echo $?; grep ' /proc/sys ' /proc/self/mounts");
  INFO(tmpfs.error);
  CHECK(tmpfs.text.find("drwx-wx-wt\n0\nproc /proc/sys proc ro,nosuid,nodev,noexec") == 0);
  machine_fixture m(true, "native");
  REQUIRE(m.create(m.create_request(docker_spec(m, "sleep 100"))).error_message() == "");
  const json process = {{"user", {{"uid", 9}, {"gid", 9}}},
                        {"args",
                         {"sh", "-c",
                          "ls -n $(tty) | busybox awk '{print $1,$3,$4}'; "
                          "cat /proc/self/oom_score_adj; cut -d' ' -f7 /proc/self/stat"}},
                        {"env", {"PATH=/bin"}},
                        {"cwd", "/"},
                        {"oomScoreAdj", 55}};
  CHECK(run_exec(m, "e", process, true).text == "crw--w---- 9 5\r\n55\r\n34816\r\n");
}

TEST_CASE("a process that the kernel kills while it is set up is no container") {
  const auto out = run_native([](json& s, machine_fixture&) {
    s["linux"]["resources"]["memory"] = {{"limit", 65536}};
  });
  CHECK(out.code == -1);
  CHECK(out.error == "the process was killed while it was set up (memory limit too low?)");
}

TEST_CASE("no descriptor of the agent's is a way out (CVE-2024-21626)") {
  machine_fixture m(true, "native");
  std::ofstream(m.rootfs + "/marker") << "";
  int started = 0;
  for (int fd = 3; fd < 40; ++fd) {
    m.id = "c" + std::to_string(fd);
    json spec = docker_spec(m, "ls -d ../../../../../../../../marker");
    spec["process"]["cwd"] = "/proc/self/fd/" + std::to_string(fd);
    const auto status = m.create(m.create_request(spec));
    INFO(fd);
    if (!status.ok()) {
      CHECK(status.error_message().find("chdir `/proc/self/fd/") == 0);
      continue;
    }
    ++started;  // a folder of the container's own root
    CHECK(m.open_stdio()->read_all() == "../../../../../../../../marker\n");
    CHECK(m.wait().code() == 0);
    CHECK(m.acknowledge().ok());
  }
  CHECK(started > 0);
}

TEST_CASE("the native launcher refuses what would lead out of the root, and leaves no cgroup behind") {
  machine_fixture m(true, "native");
  json spec = docker_spec(m, "true");
  SECTION("proc over a link") {
    rename((m.rootfs + "/proc").c_str(), (m.rootfs + "/real").c_str());
    symlink("/etc", (m.rootfs + "/proc").c_str());
    CHECK(m.create(m.create_request(spec)).error_message() ==
          "mount `proc` to `proc`: Too many levels of symbolic links");
  }
  SECTION("an absolute link as mount point is followed inside") {
    const std::string outside = m.rootfs + "/../outside";
    mkdir(outside.c_str(), 0755);
    symlink(outside.c_str(), (m.rootfs + "/data/link").c_str());
    spec["mounts"].push_back({{"destination", "/data/link/made"}, {"type", "tmpfs"}, {"source", "tmpfs"}});
    CHECK(m.create(m.create_request(spec)).error_message() == "");
    CHECK(m.wait().code() == 0);
    CHECK(access((outside + "/made").c_str(), F_OK) != 0);
    return;
  }
  const std::string folder = "/sys/fs/cgroup/pids" + m.cgroup + "/ctr";
  for (int i = 0; i < 3000 && access(folder.c_str(), F_OK) == 0; ++i) usleep(10'000);
  CHECK(access(folder.c_str(), F_OK) != 0);
}

TEST_CASE("the native launcher on cgroup v2: devices") {
  const auto out = run_container(
      "native-v2", "head -c1 /dev/zero | wc -c; busybox mknod /tmp/mem c 1 11 && cat /tmp/mem", nullptr, false);
  CHECK(out.error == "");
  CHECK(out.text == "1\ncat: can't open '/tmp/mem': Operation not permitted\n");
}

TEST_CASE("the native launcher on cgroup v2") {
  machine_fixture m(true, "native-v2");
  json spec = docker_spec(m,
                          "cat /proc/self/cgroup | grep 0:; grep ' /sys/fs/cgroup ' /proc/self/mounts; "
                          "cat /sys/fs/cgroup/cgroup.procs >/tmp/procs; wc -l </tmp/procs; sleep 100");
  REQUIRE(m.create(m.create_request(spec)).error_message() == "");
  auto io = m.open_stdio();
  REQUIRE(io->read_until([&] { return io->out.find("\n2\n") != std::string::npos; }));
  CHECK(io->out == "0::/\ncgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime 0 0\n2\n");
  const json process = {
      {"user", {{"uid", 0}, {"gid", 0}}}, {"args", {"cat", "/proc/self/cgroup"}}, {"env", {"PATH=/bin"}}, {"cwd", "/"}};
  CHECK(run_exec(m, "e", process, false).text.find("0::/\n") != std::string::npos);
  REQUIRE(m.acknowledge("e").ok());
  pb::ContainerRef ref;
  ref.set_container_id(m.id);
  pb::Empty empty;
  REQUIRE(m.call(&pb::Agent::Stub::Pause, ref, &empty).ok());
  CHECK(m.hello().processes(0).paused());
  REQUIRE(m.call(&pb::Agent::Stub::Resume, ref, &empty).ok());
  pb::SignalRequest kill_all;
  kill_all.set_container_id(m.id);
  kill_all.set_signal(SIGKILL);
  kill_all.set_all(true);
  REQUIRE(m.call(&pb::Agent::Stub::Signal, kill_all, &empty).ok());
  CHECK(m.wait().code() == 137);
}
