#include "actors/model/info.hpp"

#include "actors/model/go_json.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

json registry_json(const engine_facts& engine, api_version version) {
  json index = {
      {"docker.io", {{"Name", "docker.io"}, {"Mirrors", engine.mirrors}, {"Secure", true}, {"Official", true}}}};
  for (const auto& name : engine.insecure_registries)
    index[name] = {{"Name", name}, {"Mirrors", json::array()}, {"Secure", false}, {"Official", false}};
  json out = {{"IndexConfigs", std::move(index)}, {"InsecureRegistryCIDRs", {"::1/128", "127.0.0.0/8"}}};
  out["Mirrors"] = engine.mirrors.empty() ? json() : json(engine.mirrors);
  if (version.before(49)) {
    out["AllowNondistributableArtifactsCIDRs"] = nullptr;
    out["AllowNondistributableArtifactsHostnames"] = nullptr;
  }
  return out;
}

json runtimes_json(const engine_facts& engine, api_version version) {
  // "runc" is the name that clients know for the default; what stands behind it is a machine of Arca's.
  const auto entry = [&](const char* path) {
    json out = {{"path", path}};
    if (!version.before(46)) out["status"] = json::object();
    return out;
  };
  json out = {{"io.containerd.runc.v2", entry(engine.runtime_path.c_str())},
              {"runc", entry(engine.runtime_path.c_str())}};
  for (const char* name : {"namespace", "vm"}) out[name] = entry(name);
  return out;
}

json driver_status(const engine_facts& engine) {
  json out = json::array({json::array({"Backing Filesystem", "overlayfs"}), json::array({"Supports d_type", "true"}),
                          json::array({"Using metacopy", "false"}), json::array({"Native Overlay Diff", "true"}),
                          json::array({"userxattr", "false"})});
  out.push_back(json::array({"Machine", engine.default_machine}));
  for (const auto& [name, value] : {std::pair{"Machine reason", engine.machine_reason},
                                    {"Hypervisor", engine.hypervisor},
                                    {"Acceleration", engine.acceleration},
                                    {"Guest", engine.guest}})
    if (!value.empty()) out.push_back(json::array({name, value}));
  return out;
}

json commit_json(const std::string& id, api_version version) {
  json out = {{"ID", id}};
  if (version.before(48)) out["Expected"] = id;
  return out;
}

json security_options(const host_facts& host) {
  json out = json::array();
  if (host.apparmor) out.push_back("name=apparmor");
  if (host.seccomp) out.push_back("name=seccomp,profile=builtin");
  if (host.cgroup_version == 2) out.push_back("name=cgroupns");
  return out;
}

}  // namespace

std::vector<std::string> host_warnings(const host_facts& host) {
  std::vector<std::string> out;
  const auto need = [&](bool there, const char* what) {
    if (!there) out.push_back("WARNING: No " + std::string(what) + " support");
  };
  need(host.memory_limit, "memory limit");
  need(host.swap_limit, "swap limit");
  if (host.cgroup_version == 1) need(host.oom_kill_disable, "oom kill disable");
  need(host.cpu_cfs, "cpu cfs quota");
  need(host.cpu_cfs, "cpu cfs period");
  need(host.cpu_shares, "cpu shares");
  need(host.cpuset, "cpuset");
  if (!host.ipv4_forwarding) out.emplace_back("WARNING: IPv4 forwarding is disabled");
  return out;
}

std::string info_json(const host_facts& host, const engine_facts& engine, const engine_counts& counts,
                      api_version version) {
  auto warnings = host_warnings(host);
  json out = {
      {"ID", engine.id},
      {"Containers", counts.containers},
      {"ContainersRunning", counts.running},
      {"ContainersPaused", counts.paused},
      {"ContainersStopped", counts.stopped},
      {"Images", counts.images},
      {"Driver", "overlay2"},
      {"DriverStatus", driver_status(engine)},
      {"Plugins",
       {{"Volume", {"local"}},
        {"Network", {"bridge", "host", "null"}},
        {"Authorization", nullptr},
        {"Log", {"json-file", "local", "none"}}}},
      {"MemoryLimit", host.memory_limit},
      {"SwapLimit", host.swap_limit},
      {"KernelMemoryTCP", host.kernel_memory_tcp},
      {"CpuCfsPeriod", host.cpu_cfs},
      {"CpuCfsQuota", host.cpu_cfs},
      {"CPUShares", host.cpu_shares},
      {"CPUSet", host.cpuset},
      {"PidsLimit", host.pids_limit},
      {"IPv4Forwarding", host.ipv4_forwarding},
      {"Debug", engine.debug},
      {"NFd", counts.open_files},
      {"OomKillDisable", host.oom_kill_disable},
      {"NGoroutines", counts.actors},
      {"SystemTime", rfc3339_nano(counts.now_nanos)},
      {"LoggingDriver", engine.log_driver},
      {"CgroupDriver", "cgroupfs"},
      {"CgroupVersion", std::to_string(host.cgroup_version)},
      {"NEventsListener", counts.event_listeners},
      {"KernelVersion", host.kernel_version},
      {"OperatingSystem", host.operating_system},
      {"OSVersion", host.os_version},
      {"OSType", "linux"},
      {"Architecture", host.machine},
      {"IndexServerAddress", "https://index.docker.io/v1/"},
      {"RegistryConfig", registry_json(engine, version)},
      {"NCPU", host.cpus},
      {"MemTotal", host.mem_total},
      {"GenericResources", nullptr},
      {"DockerRootDir", engine.data_root},
      {"HttpProxy", engine.http_proxy},
      {"HttpsProxy", engine.https_proxy},
      {"NoProxy", engine.no_proxy},
      {"Name", host.hostname},
      {"Labels", engine.labels},
      {"ExperimentalBuild", false},
      {"ServerVersion", engine_version},
      {"Runtimes", runtimes_json(engine, version)},
      {"DefaultRuntime", "runc"},
      {"Swarm",
       {{"NodeID", ""},
        {"NodeAddr", ""},
        {"LocalNodeState", "inactive"},
        {"ControlAvailable", false},
        {"Error", ""},
        {"RemoteManagers", nullptr}}},
      {"LiveRestoreEnabled", false},
      {"Isolation", ""},
      {"InitBinary", "docker-init"},
      {"ContainerdCommit", commit_json("", version)},
      {"RuncCommit", commit_json("", version)},
      {"InitCommit", commit_json("", version)},
      {"SecurityOptions", security_options(host)},
      {"CDISpecDirs", json::array()},
  };
  out["Warnings"] = warnings.empty() ? json() : json(warnings);
  if (!engine.address_pools.empty()) {
    auto& pools = out["DefaultAddressPools"] = json::array();
    for (const auto& [base, size] : engine.address_pools) pools.push_back({{"Base", base}, {"Size", size}});
  }
  if (version.before(50)) {
    out["BridgeNfIptables"] = false;
    out["BridgeNfIp6tables"] = false;
  }
  if (version.before(42)) out["KernelMemory"] = true;
  if (!version.before(49)) out["FirewallBackend"] = {{"Driver", "nftables"}};
  if (!version.before(46))
    out["Containerd"] = {{"Address", ""}, {"Namespaces", {{"Containers", "arca"}, {"Plugins", "arca"}}}};
  return dump(out);
}

std::string version_json(const host_facts& host, const engine_facts& engine) {
  const json details = {{"ApiVersion", newest_api},
                        {"Arch", host.architecture},
                        {"BuildTime", engine.build_time},
                        {"Experimental", "false"},
                        {"GitCommit", engine.commit},
                        {"GoVersion", ""},
                        {"KernelVersion", host.kernel_version},
                        {"MinAPIVersion", oldest_api},
                        {"Os", "linux"}};
  return dump({{"Platform", {{"Name", "Arca"}}},
               {"Components", json::array({{{"Name", "Engine"}, {"Version", engine_version}, {"Details", details}}})},
               {"Version", engine_version},
               {"ApiVersion", newest_api},
               {"MinAPIVersion", oldest_api},
               {"GitCommit", engine.commit},
               {"GoVersion", ""},
               {"Os", "linux"},
               {"Arch", host.architecture},
               {"KernelVersion", host.kernel_version},
               {"BuildTime", engine.build_time}});
}

}  // namespace arca::model
