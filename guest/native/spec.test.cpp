// OCI runtime spec → plan: mount options, process, container.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "guest/native/container_spec.hpp"
#include "guest/native/process_spec.hpp"
#include "guest/native/seccomp.hpp"

using namespace arca;
using namespace arca::guest::native;
using nlohmann::json;

namespace {
mount_options options(const std::vector<std::string>& list) {
  auto parsed = parse_mount_options(list);
  REQUIRE(parsed);
  return *parsed;
}

json minimal() {
  return json::parse(R"({"process":{"args":["sh"],"cwd":"/"},
    "linux":{"cgroupsPath":"/a/b","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"uts"},{"type":"ipc"}]}})");
}
std::string refused(const json& spec) {
  const auto parsed = parse_container(spec);
  REQUIRE_FALSE(parsed);
  return parsed.error().message();
}
}  // namespace

TEST_CASE("mount options") {
  const auto proc = options({"nosuid", "noexec", "nodev", "hidepid=2", "gid=5"});
  CHECK(proc.flags == (MS_NOSUID | MS_NOEXEC | MS_NODEV));
  CHECK(proc.data == "hidepid=2,gid=5");
  CHECK_FALSE(proc.bind);
  const auto last = options({"ro", "rw", "nodev", "dev"});
  CHECK(last.flags == 0);
  CHECK(last.set == 0);
  CHECK(last.clear == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV));
  const auto bind = options({"rbind", "ro", "rslave"});
  CHECK((bind.bind && bind.recursive && bind.propagation_below));
  CHECK(bind.propagation == MS_SLAVE);
  CHECK(bind.set == MOUNT_ATTR_RDONLY);
  CHECK(bind.set_below == 0);
  CHECK(options({"rbind", "rro"}).set_below == MOUNT_ATTR_RDONLY);
  CHECK(options({"bind", "noatime"}).set == MOUNT_ATTR_NOATIME);
  CHECK((options({"bind", "noatime"}).clear & MOUNT_ATTR__ATIME) == MOUNT_ATTR__ATIME);
  CHECK(options({"noatime", "relatime"}).set == MOUNT_ATTR_RELATIME);
  CHECK(options({"size=64k", "mode=1777"}).data == "size=64k,mode=1777");
  CHECK(parse_mount_options({"tmpcopyup"}).error().code() == errc::unsupported);
  CHECK(parse_mount_options({"idmap"}).error().code() == errc::unsupported);
}

TEST_CASE("a process") {
  auto parsed = parse_process(json::parse(R"({"args":["ls","-l"],"env":["A=1","PATH=/x::/y"],"cwd":"/w",
    "user":{"uid":1000,"gid":50,"additionalGids":[50,7],"umask":63},"noNewPrivileges":true,"oomScoreAdj":-5,
    "rlimits":[{"type":"RLIMIT_NOFILE","soft":1024,"hard":18446744073709551615}],
    "capabilities":{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN","CAP_OF_TOMORROW"],"effective":["CAP_KILL"]}})"));
  REQUIRE(parsed);
  CHECK(parsed->candidates == std::vector<std::string>{"/x/ls", "./ls", "/y/ls"});
  CHECK(parsed->uid == 1000);
  CHECK(parsed->groups == std::vector<gid_t>{50, 7});
  CHECK(parsed->mask == 077);
  CHECK(parsed->oom_score_adj == "-5");
  CHECK(parsed->capabilities.bounding == (uint64_t{1} << 0 | uint64_t{1} << 21));
  CHECK(parsed->capabilities.effective == uint64_t{1} << 5);
  REQUIRE(parsed->rlimits.size() == 1);
  CHECK(parsed->rlimits[0].value.rlim_cur == 1024);
  CHECK(parsed->rlimits[0].value.rlim_max == RLIM_INFINITY);
  parsed->seal();
  CHECK(parsed->argv.size() == 3);
  CHECK(parsed->argv.back() == nullptr);
  CHECK(parse_process(json::parse(R"({"args":["./x"]})"))->candidates == std::vector<std::string>{"./x"});
  CHECK(parse_process(json::parse(R"({"args":["x"]})"))->candidates.size() == 6);
  CHECK(parse_process(json::parse(R"({"args":[""]})"))->candidates.empty());
  const auto searched = [](const std::string& args, int64_t lacking) {
    auto process = *parse_process(json(
        {{"args", json::array({args})}, {"env", json::array({"PATH=/a:/b:/c"})}, {"arcaLackingFolders", lacking}}));
    process.drop_lacking();
    return process.candidates;
  };
  CHECK(searched("x", 0).size() == 3);
  CHECK(searched("x", 2) == std::vector<std::string>{"/c/x"});
  CHECK(searched("x", 99) == std::vector<std::string>{"/c/x"});  // to say that it is not there
  CHECK(searched("x", -1).size() == 3);
  CHECK(searched("./x", 1) == std::vector<std::string>{"./x"});
  CHECK(searched("", 1).empty());
}

TEST_CASE("a process of which a part comes beside the JSON") {
  const auto whole = json::parse(R"({"args":["ls","-l"],"env":["PATH=/x:/y"],"cwd":"/w","arcaLackingFolders":1,
    "user":{"uid":1000,"gid":50,"additionalGids":[50,7],"umask":63},"noNewPrivileges":true,"oomScoreAdj":-5})");
  const arca::guest::plain_process plain{{"ls", "-l"}, {"PATH=/x:/y"}, "/w", 1000, 50, {50, 7}, 1};
  auto rest = whole;
  for (const char* taken : {"args", "env", "cwd", "arcaLackingFolders"}) rest.erase(taken);
  const auto one = parse_process(whole), other = plan_process(plain, rest);
  REQUIRE(one);
  REQUIRE(other);
  CHECK(one->args == other->args);
  CHECK(one->env == other->env);
  CHECK(one->candidates == other->candidates);
  CHECK(one->lacking == other->lacking);
  CHECK(one->cwd == other->cwd);
  CHECK(one->uid == other->uid);
  CHECK(one->gid == other->gid);
  CHECK(one->groups == other->groups);
  CHECK(one->mask == other->mask);
  CHECK(one->no_new_privileges == other->no_new_privileges);
  CHECK(one->oom_score_adj == other->oom_score_adj);
  const auto alone = plan_process(plain, json());
  REQUIRE(alone);
  CHECK(alone->args == plain.args);
  CHECK(alone->mask == 022);
  CHECK_FALSE(alone->no_new_privileges);
  CHECK(plan_process({}, json()).error().message() == "executable path not specified");
  CHECK_FALSE(plan_process({{"a"}, {}, "", UINT32_MAX, 0, {}, 0}, json()));
}

TEST_CASE("processes that are none") {
  CHECK(parse_process(json()).error().message() == "the OCI process is not an object");
  CHECK(parse_process(json::parse(R"({"args":[]})")).error().message() == "executable path not specified");
  CHECK_FALSE(parse_process(json{{"args", {std::string("a\0b", 3)}}}));
  CHECK_FALSE(parse_process(json::parse(R"({"args":["a"],"user":{"uid":4294967295}})")));
  CHECK_FALSE(parse_process(json::parse(R"({"args":["a"],"user":{"gid":-1}})")));
  CHECK(parse_process(json::parse(R"({"args":["a"],"rlimits":[{"type":"RLIMIT_X"}]})")).error().message() ==
        "invalid rlimit \"RLIMIT_X\"");
}

TEST_CASE("a container") {
  auto spec = minimal();
  spec.merge_patch(json::parse(R"({"hostname":"box","root":{"readonly":true},
    "mounts":[{"destination":"/tmp","type":"tmpfs","source":"tmpfs","options":["nosuid"]},
              {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["mode=755"]},
              {"destination":"/data","type":"bind","source":"/srv","options":["ro"]}],
    "linux":{"sysctl":{"kernel.shmmax":"5","kernel.domainname":"d"},"rootfsPropagation":"rslave",
      "devices":[{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":384,"uid":7},
                 {"path":"/dev/sda","type":"b","major":8,"minor":0}],
      "maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"]}})"));
  const auto parsed = parse_container(spec);
  REQUIRE(parsed);
  CHECK(parsed->new_namespaces == (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC));
  CHECK_FALSE(parsed->new_cgroup_namespace);
  CHECK(parsed->hostname == "box");
  CHECK(parsed->read_only_root);
  CHECK(parsed->root_propagation == MS_SLAVE);
  REQUIRE(parsed->mounts.size() == 3);
  CHECK(parsed->mounts[0].mode_of_target);
  CHECK_FALSE(parsed->mounts[1].mode_of_target);
  CHECK(parsed->mounts[2].options.bind);
  CHECK(parsed->sysctls.size() == 2);
  CHECK(parsed->sysctls[1].path == "/proc/sys/kernel/shmmax");
  CHECK(parsed->devices.size() == 7);  // the given /dev/null replaces the standard one
  const auto null = std::ranges::find(parsed->devices, std::string("/dev/null"), &device_plan::path);
  CHECK(null->mode == (S_IFCHR | 0600));
  CHECK(null->uid == 7);
  CHECK(parsed->devices.back().number == makedev(8, 0));
  CHECK(parsed->cgroup_path == "/a/b");
}

TEST_CASE("an own /dev gets nothing, namespaces are joined") {
  auto spec = minimal();
  spec["mounts"] = json::parse(R"([{"destination":"/dev","type":"bind","source":"/dev","options":["rbind"]}])");
  spec["linux"]["namespaces"] =
      json::parse(R"([{"type":"mount"},{"type":"network","path":"/run/n"},{"type":"cgroup"}])");
  const auto parsed = parse_container(spec);
  REQUIRE(parsed);
  CHECK(parsed->devices.empty());
  CHECK(parsed->new_namespaces == CLONE_NEWNS);
  CHECK(parsed->new_cgroup_namespace);
  REQUIRE(parsed->joined.size() == 1);
  CHECK(parsed->joined[0].kind == CLONE_NEWNET);
}

TEST_CASE("what would be lost or would change the machine is refused") {
  const auto with = [](const char* patch) {
    auto spec = minimal();
    spec.merge_patch(json::parse(patch));
    return refused(spec);
  };
  CHECK(with(R"({"linux":{"namespaces":[{"type":"mount"},{"type":"user"}]}})").find("\"user\"") != std::string::npos);
  CHECK(with(R"({"linux":{"namespaces":[{"type":"pid"}]}})") == "no mount namespace in the OCI spec");
  CHECK(with(R"({"linux":{"sysctl":{"kernel.panic":"1"}}})").find("kernel.panic") != std::string::npos);
  CHECK(with(R"({"linux":{"sysctl":{"net.ipv4.ip_forward":"1"}}})").find("requires a namespace") != std::string::npos);
  CHECK(with(R"({"linux":{"sysctl":{"kernel.shm/../panic":"1"}}})") == "invalid sysctl \"kernel.shm/../panic\"");
  CHECK(with(R"({"hooks":{"prestart":[{"path":"/x"}]}})") == "a hook is not supported in a VM");
  CHECK(with(R"({"linux":{"uidMappings":[{"size":1}]}})") == "linux.uidMappings is not supported in a VM");
  CHECK(with(R"({"linux":{"devices":[{"path":"dev/x","type":"c"}]}})") == "invalid path of a device");
  CHECK(with(R"({"linux":{"devices":[{"path":"/dev/x","type":"q"}]}})") == "invalid type of device \"/dev/x\"");
  CHECK(refused(json()) == "the OCI spec is not an object with process and linux");
}

TEST_CASE("seccomp: compiled by the daemon, compiled here, none") {
  CHECK(seccomp_of_spec(minimal())->program.empty());
  const auto ready = decode_program("BgAAAAAA/38=");  // ret ALLOW
  REQUIRE(ready);
  REQUIRE(ready->size() == 1);
  CHECK(ready->front().code == 6);
  CHECK(ready->front().k == 0x7fff0000);
  CHECK_FALSE(decode_program("BgAAAA=="));
  CHECK_FALSE(decode_program("?"));
  CHECK_FALSE(decode_program(""));
  auto profile = json::parse(R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
    "flags":["SECCOMP_FILTER_FLAG_LOG"],
    "syscalls":[{"names":["mkdir","of_tomorrow"],"action":"SCMP_ACT_ERRNO","errnoRet":13},
                {"names":["personality"],"action":"SCMP_ACT_ERRNO","args":[
                  {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]})");
  const auto compiled = compile_seccomp(profile);
  REQUIRE(compiled);
  CHECK(compiled->program.size() > 8);
  CHECK(compiled->flags == 2);
  profile["syscalls"][0]["action"] = "SCMP_ACT_NOTHING";
  CHECK(compile_seccomp(profile).error().message() == "invalid seccomp profile: action \"SCMP_ACT_NOTHING\"");
}
