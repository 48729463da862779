// Checks of HostConfig without its resources (Docker's validateHostConfig and verifyPlatformContainerSettings).
#include <algorithm>
#include <charconv>

#include "actors/model/mounts.hpp"
#include "actors/model/validation.hpp"
#include "persistence/base/text.hpp"

namespace arca::model {
namespace {

result<void> check_extra_host(const std::string& entry) {
  const auto colon = entry.find(':');
  if (colon == std::string::npos || colon == 0) return refuse("bad format for add-host: " + go_quote(entry));
  const auto address = entry.substr(colon + 1);
  if (address == "host-gateway" || is_ip4(address) || is_ip6(address)) return {};
  return refuse("invalid IP address in add-host: " + go_quote(address));
}

bool port_number(std::string_view text, int& port) {
  port = 0;
  const auto [p, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && p == text.data() + text.size() && !text.empty() && text.front() != '-' &&
         port <= 65535;
}

// nat.ParsePortRangeToInt: "", "80", "80-90"
bool port_range(const std::string& text) {
  if (text.empty()) return true;
  const auto parts = split(text, '-');
  int first = 0, last = 0;
  if (!port_number(parts[0], first)) return false;
  return parts.size() == 1 || (port_number(parts[1], last) && last >= first);
}

// nat.SplitProtoPort: the port without "/proto"; empty for "/tcp".
std::string without_protocol(const std::string& text) {
  return text.substr(0, text.find('/'));
}

result<void> check_port_bindings(const json& bindings) {
  for (const auto& [port, list] : bindings.items()) {
    const auto number = without_protocol(port);
    int parsed = 0;
    if (!number.empty() && !port_number(number, parsed))
      return refuse("invalid port specification: " + go_quote(number));
    if (!list.is_array()) continue;
    for (const auto& binding : list) {
      const auto& host_port = text_of(binding, "HostPort");
      if (!port_range(without_protocol(host_port))) return refuse("invalid port specification: " + go_quote(host_port));
    }
  }
  return {};
}

result<void> check_capabilities(const json& list, const char* key) {
  static constexpr std::string_view known[] = {"AUDIT_CONTROL",   "AUDIT_READ",   "AUDIT_WRITE",
                                               "BLOCK_SUSPEND",   "BPF",          "CHECKPOINT_RESTORE",
                                               "CHOWN",           "DAC_OVERRIDE", "DAC_READ_SEARCH",
                                               "FOWNER",          "FSETID",       "IPC_LOCK",
                                               "IPC_OWNER",       "KILL",         "LEASE",
                                               "LINUX_IMMUTABLE", "MAC_ADMIN",    "MAC_OVERRIDE",
                                               "MKNOD",           "NET_ADMIN",    "NET_BIND_SERVICE",
                                               "NET_BROADCAST",   "NET_RAW",      "PERFMON",
                                               "SETFCAP",         "SETGID",       "SETPCAP",
                                               "SETUID",          "SYSLOG",       "SYS_ADMIN",
                                               "SYS_BOOT",        "SYS_CHROOT",   "SYS_MODULE",
                                               "SYS_NICE",        "SYS_PACCT",    "SYS_PTRACE",
                                               "SYS_RAWIO",       "SYS_RESOURCE", "SYS_TIME",
                                               "SYS_TTY_CONFIG",  "WAKE_ALARM"};
  for (const auto& entry : list) {
    std::string name = entry.get<std::string>();
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
    if (name == "ALL") continue;
    if (!starts_with(name, "CAP_")) name = "CAP_" + name;
    if (std::find(std::begin(known), std::end(known), std::string_view(name).substr(4)) == std::end(known))
      return refuse("invalid " + std::string(key) + ": unknown capability: " + go_quote(name));
  }
  return {};
}

bool valid_ipc_mode(const std::string& mode) {
  return mode.empty() || mode == "none" || mode == "private" || mode == "host" || mode == "shareable" ||
         starts_with(mode, "container:");
}

}  // namespace

result<void> check_restart_policy(const json& policy) {
  const auto& name = text_of(policy, "Name");
  const auto retries = number_of(policy, "MaximumRetryCount");
  const auto wrong = [](const std::string& why) { return refuse("invalid restart policy: " + why); };
  if (name.empty()) return {};
  if (name == "on-failure") {
    if (retries < 0) return wrong("maximum retry count cannot be negative");
    return {};
  }
  if (name != "no" && name != "always" && name != "unless-stopped")
    return wrong("unknown policy '" + name + "'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'");
  if (retries != 0)
    return wrong(std::string("maximum retry count can only be used with 'on-failure'") +
                 (retries < 0 ? " and cannot be negative" : ""));
  return {};
}

result<void> check_host_config(const json& host, warning_list& warnings) {
  const auto& policy = object_of(host, "RestartPolicy");
  if (const auto& name = text_of(policy, "Name"); flag_of(host, "AutoRemove") && !name.empty() && name != "no")
    return refuse("can't create 'AutoRemove' container with restart policy");
  for (const auto& mount : list_of(host, "Mounts")) {
    if (text_of(mount, "Type") == "image") warnings.emplace_back("Image mount is an experimental feature");
    ARCA_CHECK(check_mount(mount));
  }
  for (const auto& entry : list_of(host, "ExtraHosts")) ARCA_CHECK(check_extra_host(entry.get<std::string>()));
  ARCA_CHECK(check_port_bindings(object_of(host, "PortBindings")));
  ARCA_CHECK(check_restart_policy(policy));
  ARCA_CHECK(check_capabilities(list_of(host, "CapAdd"), "CapAdd"));
  ARCA_CHECK(check_capabilities(list_of(host, "CapDrop"), "CapDrop"));
  if (object_of(host, "Annotations").contains(""))
    return refuse("invalid Annotations: the empty string is not permitted as an annotation key");
  return {};
}

result<void> check_platform(json& host, const host_facts& facts, const create_settings& settings,
                            warning_list& warnings) {
  const auto& network = text_of(host, "NetworkMode");
  if (const auto& mode = text_of(host, "IpcMode"); !valid_ipc_mode(mode)) return refuse("invalid IPC mode: " + mode);
  if (const auto& mode = text_of(host, "PidMode");
      !mode.empty() && mode != "host" && (!starts_with(mode, "container:") || mode.size() == 10))
    return refuse("invalid PID mode: " + mode);
  if (number_of(host, "ShmSize") < 0) return refuse("SHM size can not be less than 0");
  if (const auto& mode = text_of(host, "UTSMode"); !mode.empty() && mode != "host")
    return refuse("invalid UTS mode: " + mode);
  if (const auto score = number_of(host, "OomScoreAdj"); score < -1000 || score > 1000)
    return refuse("Invalid value " + std::to_string(score) + ", range for oom score adj is [-1000, 1000]");
  if (!facts.ipv4_forwarding && network != "host" && network != "none")
    warnings.emplace_back("IPv4 forwarding is disabled. Networking will not work.");
  if (network == "host" && !object_of(host, "PortBindings").empty())
    warnings.emplace_back("Published ports are discarded when using host network mode");
  if (text_of(host, "Runtime").empty()) host["Runtime"] = settings.default_runtime;
  const auto& runtime = text_of(host, "Runtime");
  if (std::find(settings.runtimes.begin(), settings.runtimes.end(), runtime) == settings.runtimes.end())
    return refuse("unknown or invalid runtime name: " + runtime);
  for (const auto& [destination, options] : object_of(host, "Tmpfs").items())
    ARCA_CHECK(check_tmpfs_destination(destination));
  const auto& cgroupns = text_of(host, "CgroupnsMode");
  if (!cgroupns.empty() && cgroupns != "private" && cgroupns != "host")
    return refuse("invalid cgroup namespace mode: " + cgroupns);
  if (cgroupns == "private" && !facts.cgroup_namespaces)
    warnings.emplace_back("Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.");
  return {};
}

}  // namespace arca::model
