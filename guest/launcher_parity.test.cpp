// Both launchers, the same spec, the same result: what a container sees of itself and what a failed start says.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include <catch2/catch.hpp>
#include <fstream>
#include <functional>

#include "guest/testing/container_run.hpp"

using namespace arca;
using namespace arca::guest;
using namespace arca::guest::testing;
using nlohmann::json;

namespace {

struct parity_case {
  const char* name;
  const char* script;
  change apply;
  const char* expected = nullptr;  ///< in the output of both, or in both errors
  bool tty = false;
};

void give_capabilities(json& spec, const json& caps) {
  spec["process"]["capabilities"] = {{"bounding", caps}, {"effective", caps}, {"permitted", caps}};
}

constexpr const char* show_identity = "id; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Umask|Uid|Gid)' /proc/self/status";

const std::vector<parity_case>& cases() {
  static const std::vector<parity_case> all = {
      {"default capabilities", show_identity, nullptr, "CapEff:\t00000000a80425fb"},
      {"one more", show_identity,
       [](json& s, machine_fixture&) {
         json caps = s["process"]["capabilities"]["bounding"];
         caps.push_back("CAP_SYS_ADMIN");
         give_capabilities(s, caps);
       },
       "CapEff:\t00000000a82425fb"},
      {"none", show_identity, [](json& s, machine_fixture&) { give_capabilities(s, json::array()); },
       "CapBnd:\t0000000000000000"},
      {"a user with groups, no new privileges, umask", show_identity,
       [](json& s, machine_fixture&) {
         s["process"]["user"] = {{"uid", 1000}, {"gid", 50}, {"additionalGids", {50, 7}}, {"umask", 63}};
         s["process"]["noNewPrivileges"] = true;
         s["process"]["capabilities"]["effective"] = s["process"]["capabilities"]["permitted"] = json::array();
       },
       "Umask:\t0077"},
      {"a user with ambient capabilities", show_identity,
       [](json& s, machine_fixture&) {
         s["process"]["user"] = {{"uid", 1000}, {"gid", 1000}};
         const json caps = {"CAP_NET_BIND_SERVICE", "CAP_CHOWN"};
         for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"})
           s["process"]["capabilities"][set] = caps;
       },
       "CapAmb:\t0000000000000401"},
      {"devices and links", "ls -ln /dev | busybox awk '{print $1,$3,$4,$5,$6,$9,$10,$11}'", nullptr, "/proc/self/fd"},
      {"a device of its own", "ls -ln /dev/mine | busybox awk '{print $1,$3,$4,$5,$6}'",
       [](json& s, machine_fixture&) {
         s["linux"]["devices"] =
             json::parse(R"([{"path":"/dev/mine","type":"c","major":1,"minor":3,"fileMode":432,"uid":5,"gid":6}])");
       },
       "crw-rw---- 5 6"},
      // Below /proc crun forgets the flags of the mount that it makes read-only.
      {"mounts", "busybox awk '$5 !~ \"^/sys/fs/cgroup|^/proc/\" {print $5,$6}' /proc/self/mountinfo | busybox sort",
       nullptr, "/dev/shm rw,nosuid,nodev,noexec,relatime"},
      {"masked and read-only paths",
       "ls /sys/firmware | wc -l; cat /proc/timer_list /proc/keys | wc -c; echo x >/proc/sys/kernel/shmmax; echo $?; "
       "echo x >/proc/sysrq-trigger; echo $?",
       nullptr, "Read-only file system"},
      {"hostname, domain, sysctl", "hostname; cat /proc/sys/kernel/shmmax /proc/sys/kernel/domainname",
       [](json& s, machine_fixture&) {
         s["hostname"] = "other";
         s["linux"]["sysctl"] = {{"kernel.shmmax", "12345"}, {"kernel.domainname", "example"}};
       },
       "other\n12345\nexample\n"},
      {"limits of the process", "ulimit -n; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj",
       [](json& s, machine_fixture&) {
         s["process"]["rlimits"] = json::parse(R"([{"type":"RLIMIT_NOFILE","soft":77,"hard":99},
                                                   {"type":"RLIMIT_CORE","soft":0,"hard":0}])");
         s["process"]["oomScoreAdj"] = 321;
       },
       "77\n99\n0\n321\n"},
      {"environment and arguments", "env | busybox sort; echo $0",
       [](json& s, machine_fixture&) {
         s["process"]["env"] = {"PATH=/bin", "HOME=/h", "A=b c", "EMPTY="};
       },
       "A=b c\nEMPTY=\n"},
      {"a working directory that is not there", "pwd; ls -dn /made/for/it | busybox awk '{print $1,$3,$4}'",
       [](json& s, machine_fixture&) { s["process"]["cwd"] = "/made/for/it"; }, "/made/for/it\ndrwxr-xr-x"},
      {"a read-only root", "echo x >/etc/x; echo $?; echo x >/dev/shm/x; echo $?; echo x >/made/x; echo $?",
       [](json& s, machine_fixture&) {
         s["root"]["readonly"] = true;
         s["mounts"].push_back({{"destination", "/made"}, {"type", "tmpfs"}, {"source", "tmpfs"}});
       },
       "Read-only file system\n1\n0\n0\n"},
      {"a tmpfs of a size",
       "grep ' /data ' /proc/self/mounts; ls -ld /data | cut -c1-10; "
       "dd if=/dev/zero of=/data/x bs=64k count=3 2>&1 | head -n1",
       [](json& s, machine_fixture&) {
         s["mounts"].push_back({{"destination", "/data"},
                                {"type", "tmpfs"},
                                {"source", "tmpfs"},
                                {"options", {"nosuid", "size=128k", "mode=0700", "uid=3"}}});
       },
       "No space left on device"},
      {"a read-only tmpfs", "echo x >/data/x; echo $?",
       [](json& s, machine_fixture&) {
         s["mounts"].push_back({{"destination", "/data"}, {"type", "tmpfs"}, {"source", "tmpfs"}, {"options", {"ro"}}});
       },
       "Read-only file system"},
      {"a bound file, read-only", "cat /etc/given; echo x >/etc/given; echo $?",
       [](json& s, machine_fixture& m) {
         std::ofstream(m.rootfs + "/../given") << "given\n";
         s["mounts"].push_back({{"destination", "/etc/given"},
                                {"type", "bind"},
                                {"source", m.rootfs + "/../given"},
                                {"options", {"bind", "ro", "rprivate"}}});
       },
       "given\n"},
      {"a bound folder, its flags", "cat /new/folder/f; grep ' /new/folder ' /proc/self/mounts | cut -d' ' -f4",
       [](json& s, machine_fixture& m) {
         mkdir((m.rootfs + "/../vol").c_str(), 0755);
         std::ofstream(m.rootfs + "/../vol/f") << "in\n";
         s["mounts"].push_back({{"destination", "/new/folder"},
                                {"type", "bind"},
                                {"source", m.rootfs + "/../vol"},
                                {"options", {"rbind", "nosuid", "noexec", "rslave"}}});
       },
       "nosuid,noexec"},
      {"a mount point behind a link stays inside", "ls -d /etc/trick/deep /inside/*; echo $?",
       [](json& s, machine_fixture& m) {
         mkdir((m.rootfs + "/../vol").c_str(), 0755);
         symlink("/inside", (m.rootfs + "/etc/trick").c_str());
         mkdir((m.rootfs + "/inside").c_str(), 0755);
         s["mounts"].push_back({{"destination", "/etc/trick/deep"},
                                {"type", "bind"},
                                {"source", m.rootfs + "/../vol"},
                                {"options", {"rbind"}}});
       },
       "/inside/deep"},
      {"limits of the cgroup",
       "cd /sys/fs/cgroup; for f in memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max "
       "cpuset/cpuset.cpus memory.max memory.swap.max memory.low cpu.max cpu.weight pids.max cpuset.cpus; do "
       "[ -e $f ] && echo $f $(cat $f); done; cat /proc/self/cgroup | busybox sort; "
       "cat devices/devices.list 2>/dev/null | busybox sort",
       [](json& s, machine_fixture&) {
         s["linux"]["resources"].update(json::parse(R"({"memory":{"limit":67108864},
           "cpu":{"shares":512,"quota":50000,"period":100000,"cpus":"0"},"pids":{"limit":50}})"));
       },
       " 67108864\n"},
      {"the limit of processes", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>&1; wait",
       [](json& s, machine_fixture&) {
         s["linux"]["resources"]["pids"] = {{"limit", 4}};
       },
       "can't fork"},
      {"devices that are allowed, and a node of one that is not",
       "head -c1 /dev/zero | wc -c; busybox mknod /tmp/mem c 1 11 && cat /tmp/mem", nullptr,
       "1\ncat: can't open '/tmp/mem': Operation not permitted\n"},
      {"seccomp: an errno of its own", "busybox mkdir /tmp/x; grep -E '^Seccomp:' /proc/self/status",
       [](json& s, machine_fixture&) {
         s["linux"]["seccomp"] = json::parse(R"({"defaultAction":"SCMP_ACT_ALLOW",
           "architectures":["SCMP_ARCH_X86_64"],
           "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]})");
       },
       "No space left on device\nSeccomp:\t2\n"},
      {"seccomp with no new privileges", "busybox mkdir /tmp/x; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status",
       [](json& s, machine_fixture&) {
         s["process"]["noNewPrivileges"] = true;
         s["linux"]["seccomp"] = json::parse(R"({"defaultAction":"SCMP_ACT_ALLOW",
           "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]})");
       },
       "Operation not permitted"},
      {"a terminal",
       "tty; stty size; ls -ln /dev/console /dev/pts/0 | busybox awk '{print $1,$3,$4,$5}'; echo x >/dev/tty; "
       "grep -c console /proc/self/mountinfo",
       [](json& s, machine_fixture&) {
         s["process"]["user"] = {{"uid", 1000}, {"gid", 1000}};
       },
       "/dev/pts/0\r\n30 90\r\n", true},
      {"the exit code of a signal", "sh -c 'kill -9 $$'; echo $?; exit 201", nullptr, "137\n"},
      {"init's session", "busybox awk '{print $1,$5,$6}' /proc/self/stat | cut -d' ' -f2-; ps >/tmp/ps; wc -l </tmp/ps",
       nullptr, "\n3\n"},
      // ---- starts that fail, in the words that vm/oci/runtime_words.cpp knows
      {"no such program", "", [](json& s, machine_fixture&) { s["process"]["args"] = {"nosuch"}; },
       "executable file `nosuch` not found in $PATH: No such file or directory"},
      {"no such path", "", [](json& s, machine_fixture&) { s["process"]["args"] = {"/bin/nosuch"}; },
       "executable file `/bin/nosuch` not found in $PATH: No such file or directory"},
      {"a file without the right to run", "",
       [](json& s, machine_fixture& m) {
         std::ofstream(m.rootfs + "/bin/plain") << "text";
         chmod((m.rootfs + "/bin/plain").c_str(), 0644);
         s["process"]["args"] = {"/bin/plain"};
       },
       "open executable: "},
      {"a folder", "", [](json& s, machine_fixture&) { s["process"]["args"] = {"/etc"}; }, "open executable: "},
      {"a file as working directory", "", [](json& s, machine_fixture&) { s["process"]["cwd"] = "/bin/busybox"; },
       "chdir `/bin/busybox`: Not a directory"},
      {"a file over a folder", "true",
       [](json& s, machine_fixture& m) {
         std::ofstream(m.rootfs + "/../given") << "given\n";
         s["mounts"].push_back(
             {{"destination", "/etc"}, {"type", "bind"}, {"source", m.rootfs + "/../given"}, {"options", {"bind"}}});
       },
       "Not a directory"},
      {"a limit above what is allowed", "true",
       [](json& s, machine_fixture&) {
         s["process"]["rlimits"] = json::parse(R"([{"type":"RLIMIT_NOFILE","soft":9000000000,"hard":9000000000}])");
       },
       "setrlimit `RLIMIT_NOFILE`: Operation not permitted"},
      {"a host name that is too long", "true", [](json& s, machine_fixture&) { s["hostname"] = std::string(65, 'h'); },
       "sethostname: Invalid argument"},
  };
  return all;
}
}  // namespace

TEST_CASE("both launchers make the same container of the same spec") {
  for (const auto& each : cases()) {
    INFO(each.name);
    const auto crun = run_container("crun", each.script, each.apply, each.tty);
    const auto native = run_container("native", each.script, each.apply, each.tty);
    CHECK(native.text == crun.text);
    CHECK(native.code == crun.code);
    if (each.script[0] == '\0') CHECK(native.code == -1);
    CHECK(native.error.empty() == crun.error.empty());
    if (!each.expected) continue;
    CHECK((crun.text + crun.error).find(each.expected) != std::string::npos);
    CHECK((native.text + native.error).find(each.expected) != std::string::npos);
  }
}

namespace {
struct exec_case {
  const char* name;
  const char* script;
  json patch;  ///< merged into the process
  const char* expected = nullptr;
  bool tty = false;
};

const std::vector<exec_case>& exec_cases() {
  static const std::vector<exec_case> all = {
      {"the container's namespaces and cgroup",
       "hostname; cat /proc/self/cgroup | busybox sort; for n in mnt pid ipc uts cgroup net; do "
       "[ $(busybox readlink /proc/self/ns/$n) = $(busybox readlink /proc/1/ns/$n) ] && echo $n; done; pwd",
       json::object(), "mnt\npid\nipc\nuts\ncgroup\nnet\n/\n"},
      {"the container's capabilities and seccomp", show_identity, json::object(), "Seccomp:\t2"},
      {"a user", show_identity,
       json::parse(R"({"user":{"uid":33,"gid":34,"additionalGids":[34,7],"umask":7},"noNewPrivileges":true,
                       "capabilities":{"bounding":["CAP_KILL"]}})"),
       "CapBnd:\t0000000000000020"},
      {"limits and environment", "ulimit -n; echo $A; pwd", json::parse(R"({"env":["PATH=/bin","A=x"],"cwd":"/etc",
                       "rlimits":[{"type":"RLIMIT_NOFILE","soft":55,"hard":55}]})"),
       "55\nx\n/etc\n"},
      {"a terminal of its own",
       "tty; for i in $(seq 200); do [ \"$(stty size 2>/dev/null)\" = '20 60' ] && break; sleep 0.05; done; stty size; "
       "echo x >/dev/tty",
       json::parse(R"({"user":{"uid":9,"gid":9}})"), "/dev/pts/0\r\n20 60\r\nx\r\n", true},
      {"a signal", "kill -9 $$", json::object(), ""},
      {"no such program", "", json::parse(R"({"args":["nosuch"]})"), "executable file `nosuch` not found in $PATH"},
      {"no such folder", "", json::parse(R"({"cwd":"/nowhere"})"), "chdir `/nowhere`: No such file or directory"},
  };
  return all;
}
}  // namespace

TEST_CASE("both launchers run the same execs") {
  std::vector<std::vector<outcome>> results;
  for (const char* launcher : {"crun", "native"}) {
    machine_fixture m(true, launcher);
    json spec = docker_spec(m, "sleep 100");
    spec["linux"]["seccomp"] = json::parse(R"({"defaultAction":"SCMP_ACT_ALLOW",
      "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]})");
    REQUIRE(m.create(m.create_request(spec)).error_message() == "");
    auto& mine = results.emplace_back();
    for (const auto& each : exec_cases()) {
      json process = {{"user", {{"uid", 0}, {"gid", 0}}},
                      {"args", {"sh", "-c", each.script}},
                      {"env", {"PATH=/bin"}},
                      {"cwd", "/"},
                      {"terminal", false}};
      process.merge_patch(each.patch);
      mine.push_back(run_exec(m, "e" + std::to_string(mine.size()), process, each.tty));
    }
  }
  for (size_t i = 0; i < exec_cases().size(); ++i) {
    const auto& each = exec_cases()[i];
    const auto &crun = results[0][i], &native = results[1][i];
    INFO(each.name);
    CHECK(native.text == crun.text);
    CHECK(native.code == crun.code);
    CHECK(native.error.empty() == crun.error.empty());
    CHECK((crun.text + crun.error).find(each.expected) != std::string::npos);
    CHECK((native.text + native.error).find(each.expected) != std::string::npos);
  }
}

TEST_CASE("both launchers give mounts the same propagation") {
  // Made before the agents, whose mount namespaces are slaves of this one.
  std::string folder = "/run/arca-guest-shared-XXXXXX";
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  REQUIRE(mount("tmpfs", folder.c_str(), "tmpfs", 0, nullptr) == 0);
  REQUIRE(mount(nullptr, folder.c_str(), nullptr, MS_SHARED, nullptr) == 0);
  for (const char* propagation : {"rprivate", "rslave", "rshared"}) {
    const std::string of_root = propagation;
    const change apply = [&](json& s, machine_fixture&) {
      s["mounts"].push_back(
          {{"destination", "/vol"}, {"type", "bind"}, {"source", folder}, {"options", {"rbind", propagation}}});
      if (of_root != "rprivate") s["linux"]["rootfsPropagation"] = of_root;
    };
    const char* script =
        "busybox awk '$5 ~ \"^/(vol|proc|dev/shm)?$\" {print $5,$7,$8}' /proc/self/mountinfo | "
        "busybox sed 's/[0-9]//g;s/ - .*//;s/ -.*//' | busybox sort";
    INFO(propagation);
    const auto native = run_container("native", script, apply);
    CHECK(native.error == "");
    CHECK(native.text == run_container("crun", script, apply).text);
  }
  umount2(folder.c_str(), MNT_DETACH);
  rmdir(folder.c_str());
}
