#include "vm/oci/spec.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "vm/oci/capabilities.hpp"

using namespace arca;
using nlohmann::json;

namespace {

struct fixture {
  json config = {
      {"Hostname", "abc"}, {"Domainname", ""}, {"Env", {"A=1", "PATH=/x"}}, {"WorkingDir", ""}, {"Tty", false}};
  json host_config = {{"Privileged", false},
                      {"ShmSize", 67108864},
                      {"MaskedPaths", {"/proc/kcore"}},
                      {"ReadonlyPaths", {"/proc/sys"}},
                      {"CgroupnsMode", "host"}};
  oci::host_limits host;
  std::vector<oci::mount_input> mounts;
  oci::resolved_user user;
  std::map<std::string, std::string> joined;
  std::string joined_shm;
  std::map<std::string, std::string> network_sysctls;

  fixture() {
    host.bounding_caps = ~uint64_t{0} & ~(uint64_t{1} << 24);  // as on our machines: no CAP_SYS_RESOURCE
    host.rlimits["RLIMIT_NOFILE"] = {20000, 20000};
    host.architecture = "amd64";
    host.kernel_major = 6;
    user.groups = {0};
    user.home = "/root";
  }
  oci::spec_inputs inputs() {
    return {std::string(64, 'a'), config,           host_config, {"sh", "-c", "true"}, user, mounts, "/c/hosts",
            "/c/hostname",        "/c/resolv.conf", "",          "/arca/aa/ctr",       {},   false,  joined,
            joined_shm,           network_sysctls,  host};
  }
  json build() {
    auto spec = oci::build_spec(inputs());
    INFO((spec ? "" : spec.error().message()));
    REQUIRE(spec);
    warnings = spec->warnings;
    return json::parse(spec->json);
  }
  std::string refused() {
    auto spec = oci::build_spec(inputs());
    REQUIRE_FALSE(spec);
    return spec.error().message();
  }
  std::vector<std::string> warnings;
};

json mount_at(const json& spec, const std::string& destination) {
  for (const auto& m : spec["mounts"])
    if (m["destination"] == destination) return m;
  return nullptr;
}
bool has(const json& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}
const std::string create =
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "runc create failed: ";

}  // namespace

TEST_CASE_METHOD(fixture, "a plain container") {
  const auto spec = build();
  const auto& p = spec["process"];
  CHECK(p["args"] == json({"sh", "-c", "true"}));
  CHECK(p["cwd"] == "/");
  CHECK(p["env"] == json({"PATH=/x", "HOSTNAME=abc", "A=1", "HOME=/root"}));
  CHECK(p["capabilities"]["bounding"] == json(oci::default_capabilities()));
  CHECK(p["capabilities"]["effective"].size() == 14);
  CHECK(p["capabilities"]["inheritable"].empty());
  CHECK(p["user"] == json({{"uid", 0}, {"gid", 0}, {"additionalGids", {0}}}));
  CHECK(spec["hostname"] == "abc");
  CHECK(spec["linux"]["cgroupsPath"] == "/arca/aa/ctr");
  CHECK(spec["linux"]["namespaces"] ==
        json::parse(R"([{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"}])"));
  CHECK(spec["linux"]["maskedPaths"] == json({"/proc/kcore"}));
  CHECK(mount_at(spec, "/dev/shm")["options"] == json({"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}));
  CHECK(mount_at(spec, "/etc/hosts")["source"] == "/c/hosts");
  CHECK(has(mount_at(spec, "/sys")["options"], "ro"));
  CHECK(spec["annotations"].contains("run.oci.seccomp_bpf_data"));
  CHECK(spec["linux"]["resources"]["devices"][0] == json({{"allow", false}, {"access", "rwm"}}));
}

TEST_CASE_METHOD(fixture, "users other than root have no effective capabilities") {
  user.uid = 1000;
  const auto spec = build();
  CHECK(spec["process"]["capabilities"]["effective"].empty());
  CHECK(spec["process"]["capabilities"]["bounding"].size() == 14);
}

TEST_CASE_METHOD(fixture, "capabilities are added, dropped and never more than the host has") {
  host_config["CapAdd"] = {"net_admin", "SYS_RESOURCE"};
  host_config["CapDrop"] = {"CAP_MKNOD"};
  auto caps = build()["process"]["capabilities"]["bounding"];
  CHECK(has(caps, "CAP_NET_ADMIN"));
  CHECK_FALSE(has(caps, "CAP_MKNOD"));
  CHECK_FALSE(has(caps, "CAP_SYS_RESOURCE"));
  host_config["CapDrop"] = {"ALL"};
  CHECK(build()["process"]["capabilities"]["bounding"] == json({"CAP_NET_ADMIN"}));
  host_config["CapAdd"] = {"ALL"};
  CHECK(build()["process"]["capabilities"]["bounding"].size() == 40);  // to add all is stronger than to drop all
  host_config["CapDrop"] = nullptr;
  CHECK(build()["process"]["capabilities"]["bounding"].size() == 40);
  host_config["CapAdd"] = {"NO_SUCH"};
  CHECK(refused() == "invalid CapAdd: unknown capability: \"NO_SUCH\"");
}

TEST_CASE_METHOD(fixture, "a HOME that is empty is none") {
  config["Env"] = {"HOME="};
  CHECK(has(build()["process"]["env"], "HOME=/root"));
}

TEST_CASE_METHOD(fixture, "privileged") {
  host_config["Privileged"] = true;
  const auto spec = build();
  CHECK(spec["process"]["capabilities"]["bounding"].size() == 40);
  CHECK(has(mount_at(spec, "/sys")["options"], "rw"));
  CHECK_FALSE(spec["linux"].contains("maskedPaths"));
  CHECK_FALSE(spec.contains("annotations"));
  CHECK_FALSE(spec["linux"].contains("seccomp"));
  CHECK(spec["linux"]["resources"]["devices"] == json::parse(R"([{"allow":true,"access":"rwm"}])"));
}

TEST_CASE_METHOD(fixture, "ulimits are lowered to what the host allows, nonsense is refused") {
  host_config["Ulimits"] =
      json::parse(R"([{"Name":"nofile","Soft":1048576,"Hard":1048576},{"Name":"core","Soft":0,"Hard":-1}])");
  const auto spec = build();
  CHECK(spec["process"]["rlimits"][0] == json({{"type", "RLIMIT_NOFILE"}, {"soft", 20000}, {"hard", 20000}}));
  CHECK(spec["process"]["rlimits"][1]["hard"] == UINT64_MAX);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("nofile") != std::string::npos);
  host_config["Ulimits"] = json::parse(R"([{"Name":"nolimit","Soft":1,"Hard":1}])");
  CHECK(refused() == create + "wrong rlimit value: RLIMIT_NOLIMIT");
  host_config["Ulimits"] = json::parse(R"([{"Name":"nofile","Soft":9,"Hard":1}])");
  CHECK(refused() == create +
                         "unable to start container process: error during container init: error setting rlimits for "
                         "ready process: error setting rlimit type 7: invalid argument");
}

TEST_CASE_METHOD(fixture, "mounts of the user") {
  const auto bind = [](const char* source, const char* destination, bool ro) {
    oci::mount_input m;
    m.type = "bind";
    m.source = source;
    m.destination = destination;
    m.read_only = ro;
    return m;
  };
  mounts = {bind("/b", "/data/deep", true), bind("/a", "/data", false), bind("/s", "/dev/shm", false)};
  mounts[1].propagation = "rslave";
  auto spec = build();
  const auto& list = spec["mounts"];
  const auto at = [&](const std::string& d) {
    for (size_t i = 0; i < list.size(); ++i)
      if (list[i]["destination"] == d) return i;
    return list.size();
  };
  CHECK(at("/data") < at("/data/deep"));
  CHECK(list[at("/data")]["options"] == json({"rbind", "rslave"}));
  CHECK(list[at("/data/deep")]["options"] == json({"rbind", "rro", "rprivate"}));
  CHECK(mount_at(spec, "/dev/shm")["type"] == "bind");
  CHECK(spec["linux"]["rootfsPropagation"] == "rslave");
  mounts = {bind("/mine", "/etc/hosts", false)};
  CHECK(mount_at(build(), "/etc/hosts")["source"] == "/mine");
}

TEST_CASE("tmpfs options") {
  auto mounts = oci::tmpfs_mounts(json::parse(
      R"({"Tmpfs":{"/run":"rw,size=1m,exec"},
          "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":4096,"Mode":511}}]})"));
  REQUIRE(mounts);
  REQUIRE(mounts->size() == 2);
  CHECK((*mounts)[1].tmpfs_options == "mode=777,size=4096");
  auto bad = oci::tmpfs_mounts(json::parse(R"({"Tmpfs":{"/run":"size=huge,foo"}})"));
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message() == "invalid tmpfs option \"foo\"");
  fixture f;
  f.mounts = *mounts;
  CHECK(mount_at(f.build(), "/run")["options"] == json({"nosuid", "nodev", "rprivate", "rw", "size=1m", "exec"}));
}

TEST_CASE_METHOD(fixture, "a read-only root") {
  host_config["ReadonlyRootfs"] = true;
  const auto spec = build();
  CHECK(spec["root"]["readonly"] == true);
  CHECK(mount_at(spec, "/etc/hosts")["options"] == json({"bind", "ro", "rprivate"}));
  CHECK_FALSE(has(mount_at(spec, "/dev/shm")["options"], "ro"));
}

TEST_CASE_METHOD(fixture, "sysctls") {
  host_config["Sysctls"] = {{"kernel.shmmax", "1"}, {"net.ipv4.ip_forward", "1"}};
  CHECK(build()["linux"]["sysctl"] == json({{"kernel.shmmax", "1"}}));
  CHECK(oci::network_sysctls(host_config, false).at("net.ipv4.ip_forward") == "1");
  CHECK(oci::network_sysctls(host_config, true).empty());
  host_config["Sysctls"] = {{"kernel.nosuch", "1"}};
  CHECK(refused() == create + "sysctl \"kernel.nosuch\" is not in a separate kernel namespace");
  host_config["Sysctls"] = {{"kernel.shmmax", "1"}};
  host_config["IpcMode"] = "host";
  CHECK(refused() == create + "sysctl \"kernel.shmmax\" is not allowed in the hosts ipc namespace");
}

TEST_CASE_METHOD(fixture, "host namespaces") {
  host_config["PidMode"] = "host";
  host_config["IpcMode"] = "host";
  host_config["UTSMode"] = "host";
  host_config["CgroupnsMode"] = "private";
  const auto spec = build();
  CHECK(spec["linux"]["namespaces"] == json::parse(R"([{"type":"mount"},{"type":"cgroup"}])"));
  CHECK_FALSE(spec.contains("hostname"));
  CHECK(mount_at(spec, "/dev/shm")["source"] == "/dev/shm");
}

TEST_CASE_METHOD(fixture, "resources") {
  host_config.update(json::parse(
      R"({"Memory":67108864,"NanoCpus":500000000,"CpuShares":512,"CpusetCpus":"0,1",
          "PidsLimit":100,"MemorySwappiness":10})"));
  const auto r = build()["linux"]["resources"];
  CHECK(r["memory"] == json({{"limit", 67108864}, {"swap", 134217728}, {"swappiness", 10}}));
  CHECK(r["cpu"] == json({{"period", 100000}, {"quota", 50000}, {"shares", 512}, {"cpus", "0,1"}}));
  CHECK(r["pids"]["limit"] == 100);
  CHECK(json::parse(oci::build_resources(host_config, host))["memory"]["limit"] == 67108864);
}

TEST_CASE_METHOD(fixture, "refusals") {
  host_config["DeviceCgroupRules"] = {"nonsense"};
  CHECK(refused() == "invalid device cgroup rule format: 'nonsense'");
  host_config["DeviceCgroupRules"] = {"c 1:* rw"};
  CHECK(build()["linux"]["resources"]["devices"].back() ==
        json({{"allow", true}, {"type", "c"}, {"major", 1}, {"access", "rw"}}));
  host_config["DeviceRequests"] = json::parse(R"([{"Count":-1,"Capabilities":[["gpu"]]}])");
  CHECK(refused() == "could not select device driver \"\" with capabilities: [[gpu]]");
  host_config["DeviceRequests"] = nullptr;
  config["Hostname"] = std::string(65, 'h');
  CHECK(refused() ==
        create + "unable to start container process: error during container init: sethostname: invalid argument");
  config["Hostname"] = "h";
  host_config["Init"] = true;
  CHECK(refused().find("docker-init is not installed") != std::string::npos);
  host_config["SecurityOpt"] = {"seccomp=/no/such/file"};
  host_config["Init"] = false;
  CHECK(refused() == "Decoding seccomp profile failed: invalid character '/' looking for beginning of value");
  host_config["SecurityOpt"] = {"seccomp=unconfined", "no-new-privileges"};
  const auto spec = build();
  CHECK_FALSE(spec.contains("annotations"));
  CHECK(spec["process"]["noNewPrivileges"] == true);
  CHECK(oci::gather_devices({{"Devices", {{{"PathOnHost", "/dev/nosuch"}}}}}).error().message() ==
        "error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory");
}

TEST_CASE_METHOD(fixture, "init wraps the command") {
  host_config["Init"] = true;
  auto in = inputs();
  in.init_path = "/usr/bin/tini-static";
  auto built = oci::build_spec(in);
  REQUIRE(built);
  const auto spec = json::parse(built->json);
  CHECK(spec["process"]["args"] == json({"/sbin/docker-init", "--", "sh", "-c", "true"}));
  CHECK(mount_at(spec, "/sbin/docker-init")["source"] == "/usr/bin/tini-static");
}

TEST_CASE_METHOD(fixture, "namespaces of another container") {
  const auto space = [](const json& spec, const std::string& type) -> json {
    for (const auto& n : spec["linux"]["namespaces"])
      if (n["type"] == type) return n;
    return nullptr;
  };
  host_config["PidMode"] = host_config["IpcMode"] = host_config["NetworkMode"] = "container:other";
  host_config["Init"] = true;  // for a pid namespace of its own
  joined = {{"pid", "/proc/1/fd/3"}, {"ipc", "/proc/1/fd/4"}, {"network", "/proc/1/fd/5"}};
  joined_shm = "/shm";
  network_sysctls = {{"net.ipv4.ip_forward", "1"}};
  auto spec = build();
  CHECK(space(spec, "pid")["path"] == "/proc/1/fd/3");
  CHECK(space(spec, "ipc")["path"] == "/proc/1/fd/4");
  CHECK(space(spec, "network")["path"] == "/proc/1/fd/5");
  CHECK_FALSE(space(spec, "uts").contains("path"));
  CHECK(mount_at(spec, "/dev/shm")["source"] == "/shm");
  CHECK(mount_at(spec, "/dev/shm")["type"] == "bind");
  CHECK(mount_at(spec, "/sbin/docker-init").is_null());
  CHECK(spec["linux"]["sysctl"] == json({{"net.ipv4.ip_forward", "1"}}));
  joined["network"] = "";
  CHECK(space(build(), "network") == json({{"type", "network"}}));
  joined.erase("pid");
  CHECK(refused() == "PidMode \"container:other\" was not resolved");

  joined.clear();
  host_config["Init"] = false;
  host_config["PidMode"] = host_config["NetworkMode"] = "";
  host_config["IpcMode"] = "none";
  spec = build();
  CHECK(space(spec, "ipc") == json({{"type", "ipc"}}));
  CHECK(mount_at(spec, "/dev/shm").is_null());
  host_config["IpcMode"] = "shareable";
  CHECK(mount_at(build(), "/dev/shm")["type"] == "tmpfs");
}

TEST_CASE_METHOD(fixture, "exec processes") {
  const auto in = inputs();
  oci::resolved_user bob;
  bob.uid = 1000;
  bob.gid = 50;
  bob.groups = {50};
  bob.home = "/home/bob";
  auto built = oci::build_process(in, json::parse(R"({"Cmd":["id"],"User":"bob","Env":["EXTRA=2","A"],
      "WorkingDir":"/var","Tty":true,"ConsoleSize":[33,77]})"),
                                  bob);
  REQUIRE(built);
  const auto p = json::parse(*built);
  CHECK(p["args"] == json({"id"}));
  CHECK(p["env"] == json({"PATH=/x", "HOSTNAME=abc", "TERM=xterm", "EXTRA=2", "HOME=/home/bob"}));
  CHECK(p["cwd"] == "/var");
  CHECK(p["consoleSize"] == json({{"height", 33}, {"width", 77}}));
  CHECK(p["capabilities"]["effective"].empty());
  CHECK(p["capabilities"]["bounding"].size() == 14);
  built = oci::build_process(in, json::parse(R"({"Cmd":["id"]})"), user);
  REQUIRE(built);
  CHECK_FALSE(json::parse(*built).contains("capabilities"));  // the container's own
  built = oci::build_process(in, json::parse(R"({"Cmd":["id"],"Privileged":true})"), user);
  REQUIRE(built);
  CHECK(json::parse(*built)["capabilities"]["effective"].size() == 40);
}

TEST_CASE_METHOD(fixture, "what would cover /proc is refused as runc does") {
  const auto with = [&](const char* type, const char* source, const char* destination) {
    mounts = {{type, source, destination, "", false, true, ""}};
    const auto spec = oci::build_spec(inputs());
    return spec ? std::string() : spec.error().message();
  };
  const auto prefix = create + "unable to start container process: error during container init: error mounting ";
  CHECK(with("bind", "/tmp", "/proc") ==
        prefix + "\"/tmp\" to rootfs at \"/proc\": \"/proc\" cannot be mounted because it is not of type proc");
  CHECK(with("volume", "/tmp", "/proc/sub") ==
        prefix + "\"/tmp\" to rootfs at \"/proc/sub\": \"/proc/sub\" cannot be mounted because it is inside /proc");
  CHECK(with("tmpfs", "", "/proc").ends_with("cannot be mounted because it is not of type proc"));
  CHECK(with("bind", "/proc", "/proc").empty());
  CHECK(with("bind", "/etc/passwd", "/proc/uptime").empty());
  CHECK(with("tmpfs", "", "/proc/acpi").empty());
  CHECK(with("bind", "/tmp", "/process").empty());
}

TEST_CASE_METHOD(fixture, "limits that the kernel would bend or not take are refused as runc does") {
  const auto cgroup = create +
                      "unable to start container process: error during container init: error setting cgroup config for "
                      "procHooks process: ";
  host_config["CpuShares"] = 1;
  CHECK(refused() == cgroup + "the minimum allowed cpu-shares is 2");
  host_config["CpuShares"] = 262145;
  CHECK(refused() == cgroup + "the maximum allowed cpu-shares is 262144");
  host_config["CpuShares"] = 262144;
  CHECK(build()["linux"]["resources"]["cpu"]["shares"] == 262144);
  host_config["BlkioDeviceReadBps"] = {{{"Path", "/dev/nonexistent"}, {"Rate", 100}}};
  CHECK(refused() == "stat /dev/nonexistent: no such file or directory");
  host_config["BlkioDeviceReadBps"] = {{{"Path", "/dev/null"}, {"Rate", 100}}};
  CHECK(refused() == cgroup + "failed to write \"1:3 100\": write blkio.throttle.read_bps_device: no such device");
}

TEST_CASE_METHOD(fixture, "a domain name needs a UTS namespace") {
  config["Domainname"] = "x.test";
  CHECK(build()["linux"]["sysctl"]["kernel.domainname"] == "x.test");
  host_config["UTSMode"] = "host";
  CHECK(refused() == create + "sysctl \"kernel.domainname\" is not in a separate kernel namespace");
}

TEST_CASE_METHOD(fixture, "variables of links come before the container's own") {
  auto in = inputs();
  in.link_environment = {"DB_PORT=tcp://1.2.3.4:5", "A=0"};
  const auto spec = oci::build_spec(in);
  REQUIRE(spec);
  const auto env = json::parse(spec->json)["process"]["env"];
  CHECK(has(env, "DB_PORT=tcp://1.2.3.4:5"));
  CHECK(has(env, "A=1"));
  CHECK_FALSE(has(env, "A=0"));
  const auto process = oci::build_process(in, {{"Cmd", {"env"}}}, user);
  REQUIRE(process);
  CHECK(has(json::parse(*process)["env"], "DB_PORT=tcp://1.2.3.4:5"));
}

TEST_CASE_METHOD(fixture, "an empty profile is no filter") {
  host_config["SecurityOpt"] = {"seccomp={}"};
  const auto spec = build();
  CHECK_FALSE(spec["linux"].contains("seccomp"));
  CHECK_FALSE(spec.contains("annotations"));
}

TEST_CASE_METHOD(fixture, "cgroups are writable where that was asked for") {
  const auto options = [&] { return mount_at(build(), "/sys/fs/cgroup")["options"]; };
  CHECK(has(options(), "ro"));
  host_config["SecurityOpt"] = {"writable-cgroups=true"};
  CHECK(has(options(), "rw"));
  host_config["Privileged"] = true;
  host_config["SecurityOpt"] = {"writable-cgroups=false"};
  CHECK(has(options(), "ro"));
}
