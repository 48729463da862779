#include "vm/oci/spec.hpp"

#include <algorithm>
#include <regex>
#include <set>

#include "persistence/base/text.hpp"
#include "vm/oci/capabilities.hpp"
#include "vm/oci/json_access.hpp"
#include "vm/oci/mounts.hpp"
#include "vm/oci/resources.hpp"
#include "vm/oci/seccomp.hpp"

namespace arca::oci {
namespace {

constexpr const char* default_path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

tl::unexpected<error> refuse_create(const std::string& why) {
  return fail(errc::internal, create_failed + why);
}

/// Sets or replaces NAME=value; a text without "=" takes the variable away.
void merge_env(std::vector<std::string>& env, const std::vector<std::string>& more) {
  for (const auto& item : more) {
    const auto name = item.substr(0, item.find('='));
    const auto same = [&](const std::string& other) { return other.substr(0, other.find('=')) == name; };
    const auto at = std::find_if(env.begin(), env.end(), same);
    if (item.find('=') == std::string::npos) {
      if (at != env.end()) env.erase(at);
    } else if (at != env.end()) {
      *at = item;
    } else {
      env.push_back(item);
    }
  }
}

std::vector<std::string> environment(const json& config, bool tty, const std::vector<std::string>& links,
                                     const std::vector<std::string>& more, const std::string& home) {
  std::vector<std::string> env = {default_path};
  env.push_back("HOSTNAME=" + text(config, "Hostname"));
  if (tty) env.emplace_back("TERM=xterm");
  env.insert(env.end(), links.begin(), links.end());
  merge_env(env, texts(config, "Env"));
  merge_env(env, more);
  const auto own = std::find_if(env.begin(), env.end(), [](const std::string& e) { return starts_with(e, "HOME="); });
  if (own == env.end())
    env.push_back("HOME=" + home);
  else if (*own == "HOME=")  // runc takes that for none
    *own += home;
  return env;
}

/// SecurityOpt "name=value", "name:value" or the bare name.
struct security_options {
  bool no_new_privileges = false;
  std::string seccomp;  ///< "" default, "unconfined", or a profile
};
security_options parse_security(const json& host_config) {
  security_options out;
  for (const auto& option : texts(host_config, "SecurityOpt")) {
    const auto at = option.find_first_of("=:");
    const auto name = option.substr(0, at);
    const auto value = at == std::string::npos ? std::string() : option.substr(at + 1);
    if (name == "no-new-privileges") out.no_new_privileges = value != "false";
    if (name == "seccomp") out.seccomp = value == "builtin" ? std::string() : value;
  }
  return out;
}

json user_json(const resolved_user& user) {
  return {{"uid", user.uid}, {"gid", user.gid}, {"additionalGids", user.groups}};
}

json capability_sets(const std::vector<std::string>& caps, uint32_t uid) {
  json sets = {{"bounding", caps}};
  // What execve leaves to root, and to nobody else.
  sets["effective"] = uid == 0 ? json(caps) : json::array();
  sets["permitted"] = sets["effective"];
  sets["inheritable"] = json::array();
  sets["ambient"] = json::array();
  return sets;
}

result<json> rlimits_of(const json& host_config, const host_limits& host, std::vector<std::string>& warnings) {
  static const std::map<std::string, int> numbers = {
      {"RLIMIT_CPU", 0},       {"RLIMIT_FSIZE", 1}, {"RLIMIT_DATA", 2},    {"RLIMIT_STACK", 3},
      {"RLIMIT_CORE", 4},      {"RLIMIT_RSS", 5},   {"RLIMIT_NPROC", 6},   {"RLIMIT_NOFILE", 7},
      {"RLIMIT_MEMLOCK", 8},   {"RLIMIT_AS", 9},    {"RLIMIT_LOCKS", 10},  {"RLIMIT_SIGPENDING", 11},
      {"RLIMIT_MSGQUEUE", 12}, {"RLIMIT_NICE", 13}, {"RLIMIT_RTPRIO", 14}, {"RLIMIT_RTTIME", 15}};
  json out = json::array();
  const auto& list = member(host_config, "Ulimits");
  if (!list.is_array()) return out;
  for (const auto& item : list) {
    auto name = text(item, "Name");
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    name = "RLIMIT_" + name;
    const auto number = numbers.find(name);
    if (number == numbers.end()) return refuse_create("wrong rlimit value: " + name);
    // -1 is RLIM_INFINITY, the largest number.
    auto soft = static_cast<uint64_t>(integer_or(item, "Soft", 0));
    auto hard = static_cast<uint64_t>(integer_or(item, "Hard", 0));
    if (soft > hard)
      return refuse_create(
          "unable to start container process: error during container init: error setting rlimits for ready process: "
          "error setting rlimit type " +
          std::to_string(number->second) + ": invalid argument");
    const auto allowed = host.rlimits.find(name);
    if (!host.may_raise_rlimits && allowed != host.rlimits.end() && hard > allowed->second.rlim_max) {
      hard = allowed->second.rlim_max;
      soft = std::min(soft, hard);
      warnings.push_back("ulimit " + lower(name.substr(7)) + " was lowered to " + std::to_string(hard) +
                         ": this host allows no more");
    }
    out.push_back({{"type", name}, {"soft", soft}, {"hard", hard}});
  }
  return out;
}

result<json> namespaces_of(const spec_inputs& in) {
  const auto& hc = in.host_config;
  json list = json::array({{{"type", "mount"}}});
  for (const auto& [field, type] :
       {std::pair{"PidMode", "pid"}, {"IpcMode", "ipc"}, {"UTSMode", "uts"}, {"CgroupnsMode", "cgroup"}}) {
    const auto mode = text(hc, field);
    if (const auto other = in.joined.find(type); other != in.joined.end()) {
      list.push_back({{"type", type}, {"path", other->second}});
      continue;
    }
    if (starts_with(mode, "container:"))
      return fail(errc::internal, std::string(field) + ' ' + go_quote(mode) + " was not resolved");
    const bool own = std::string_view(type) == "cgroup"
                         ? mode == "private" || in.host.cgroup_always_private || (mode.empty() && in.host.cgroup_v2)
                         : mode != "host";
    if (own) list.push_back({{"type", type}});
  }
  // Without a network entry the container shares the network namespace of its launcher: the machine's.
  if (const auto other = in.joined.find("network"); other != in.joined.end()) {
    json entry = {{"type", "network"}};
    if (!other->second.empty()) entry["path"] = other->second;
    list.push_back(std::move(entry));
  }
  return list;
}

result<json> sysctls_of(const spec_inputs& in) {
  static const std::set<std::string> ipc = {"kernel.msgmax", "kernel.msgmnb",         "kernel.msgmni",
                                            "kernel.sem",    "kernel.shmall",         "kernel.shmmax",
                                            "kernel.shmmni", "kernel.shm_rmid_forced"};
  const auto& hc = in.host_config;
  json out = json::object();
  for (const auto& [name, value] : text_map(hc, "Sysctls")) {
    const auto quoted = "sysctl " + go_quote(name);
    if (starts_with(name, "net.")) {
      if (in.host_network) return refuse_create(quoted + " not allowed in host network namespace");
      continue;  // network_sysctls
    }
    if (ipc.contains(name) || starts_with(name, "fs.mqueue.")) {
      if (text(hc, "IpcMode") == "host") return refuse_create(quoted + " is not allowed in the hosts ipc namespace");
    } else if (name == "kernel.domainname") {
      if (text(hc, "UTSMode") == "host") return refuse_create(quoted + " is not allowed in the hosts uts namespace");
    } else if (name == "kernel.hostname") {
      return refuse_create(quoted + " is not allowed as it conflicts with the OCI \"hostname\" field");
    } else {
      return refuse_create(quoted + " is not in a separate kernel namespace");
    }
    out[name] = value;
  }
  const auto domain = text(in.config, "Domainname");
  if (!domain.empty() && text(hc, "UTSMode") == "host")
    return refuse_create("sysctl \"kernel.domainname\" is not in a separate kernel namespace");
  if (!domain.empty() && !out.contains("kernel.domainname")) out["kernel.domainname"] = domain;
  for (const auto& [name, value] : in.network_sysctls) out[name] = value;
  return out;
}

struct device_plan {
  json nodes = json::array(), rules = json::array();
};
result<device_plan> devices_of(const spec_inputs& in, bool privileged) {
  device_plan plan;
  const auto rule = [&](bool allow, const char* type, int64_t major, int64_t minor, const std::string& access) {
    json r = {{"allow", allow}, {"access", access}};
    if (*type != '\0') r["type"] = type;
    if (major >= 0) r["major"] = major;
    if (minor >= 0) r["minor"] = minor;
    plan.rules.push_back(std::move(r));
  };
  if (privileged) {
    rule(true, "", -1, -1, "rwm");
  } else {
    rule(false, "", -1, -1, "rwm");
    for (const auto& [major, minor] : {std::pair{1, 5}, {1, 3}, {1, 9}, {1, 8}, {5, 0}, {5, 1}})
      rule(true, "c", major, minor, "rwm");
    rule(false, "c", 10, 229, "rwm");
  }
  for (const auto& d : in.devices) {
    const char type[2] = {d.type, '\0'};
    plan.nodes.push_back({{"path", d.path},
                          {"type", type},
                          {"major", d.major},
                          {"minor", d.minor},
                          {"fileMode", d.mode},
                          {"uid", d.uid},
                          {"gid", d.gid}});
    if (!privileged) rule(true, type, d.major, d.minor, d.access);
  }
  static const std::regex form(R"(([acb]) (\d{1,9}|\*):(\d{1,9}|\*) ([rwm]{1,3}))");
  for (const auto& text_rule : texts(in.host_config, "DeviceCgroupRules")) {
    std::smatch part;
    if (!std::regex_match(text_rule, part, form))
      return fail(errc::internal, "invalid device cgroup rule format: '" + text_rule + "'");
    const auto number = [](const std::string& n) { return n == "*" ? int64_t{-1} : std::stoll(n); };
    rule(true, part[1].str().c_str(), number(part[2].str()), number(part[3].str()), part[4].str());
  }
  const auto& requests = member(in.host_config, "DeviceRequests");
  if (requests.is_array() && !requests.empty()) {
    // Go's %v of a list of lists.
    std::string caps;
    const auto& sets = member(requests[0], "Capabilities");
    if (sets.is_array())
      for (const auto& set : sets) {
        std::string names;
        if (set.is_array())
          for (const auto& name : set)
            if (name.is_string()) names += (names.empty() ? "" : " ") + name.get<std::string>();
        caps += (caps.empty() ? "[" : " [") + names + ']';
      }
    return fail(errc::internal, "could not select device driver " + go_quote(text(requests[0], "Driver")) +
                                    " with capabilities: [" + caps + ']');
  }
  return plan;
}

/// The process object, without capabilities.
json process_json(const spec_inputs& in, const std::vector<std::string>& args, const std::vector<std::string>& env,
                  std::string cwd, bool tty, const resolved_user& user) {
  json process = {{"terminal", tty},
                  {"user", user_json(user)},
                  {"args", args},
                  {"env", env},
                  {"cwd", cwd.empty() ? "/" : std::move(cwd)}};
  auto score = integer_or(in.host_config, "OomScoreAdj", 0);
  if (score < 0 && !in.host.may_raise_rlimits) score = 0;
  if (score != 0) process["oomScoreAdj"] = score;
  if (in.lacking && !args.empty()) {
    std::string path;
    for (const auto& variable : env)
      if (starts_with(variable, "PATH=")) path = variable.substr(5);
    if (const auto count = in.lacking(args.front(), path); count != 0) process[lacking_folders] = count;
  }
  return process;
}

json console_size(const json& size) {
  if (!size.is_array() || size.size() != 2 || !size[0].is_number() || !size[1].is_number()) return nullptr;
  const auto rows = size[0].get<int64_t>(), columns = size[1].get<int64_t>();
  if (rows <= 0 || columns <= 0) return nullptr;
  return {{"height", rows}, {"width", columns}};
}

}  // namespace

std::map<std::string, std::string> network_sysctls(const nlohmann::json& host_config, bool host_network) {
  std::map<std::string, std::string> out;
  if (host_network) return out;
  out["net.ipv4.ip_unprivileged_port_start"] = "0";
  out["net.ipv4.ping_group_range"] = "0 2147483647";
  for (const auto& [name, value] : text_map(host_config, "Sysctls"))
    if (starts_with(name, "net.")) out[name] = value;
  return out;
}

bool wants_init(const nlohmann::json& host_config) {
  return flag(host_config, "Init") && text(host_config, "PidMode").empty();
}

result<built_spec> build_spec(const spec_inputs& in) {
  built_spec out;
  const auto& hc = in.host_config;
  const bool privileged = flag(hc, "Privileged");
  const bool tty = flag(in.config, "Tty");
  const auto security = parse_security(hc);

  // Checks before work, in the order in which Docker's start meets them.
  ARCA_TRY(devices, devices_of(in, privileged));
  ARCA_TRY(caps, effective_capabilities(hc, in.host.bounding_caps));
  const bool init = wants_init(hc);
  if (init && in.init_path.empty())
    return fail(errc::internal, create_failed + std::string("docker-init is not installed on this host: install the "
                                                            "package tini (or start the container without --init)"));
  ARCA_TRY(plan, plan_mounts(in, init));
  ARCA_TRY(sysctls, sysctls_of(in));
  ARCA_CHECK(check_limits(hc));
  ARCA_TRY(rlimits, rlimits_of(hc, in.host, out.warnings));
  ARCA_TRY(namespaces, namespaces_of(in));

  std::vector<std::string> args = in.args;
  if (init) args.insert(args.begin(), {init_destination, "--"});
  auto process = process_json(in, args, environment(in.config, tty, in.link_environment, {}, in.user.home),
                              text(in.config, "WorkingDir"), tty, in.user);
  process["capabilities"] = capability_sets(caps, in.user.uid);
  if (!rlimits.empty()) process["rlimits"] = std::move(rlimits);
  process["noNewPrivileges"] = security.no_new_privileges;
  if (auto size = console_size(member(hc, "ConsoleSize")); tty && !size.is_null())
    process["consoleSize"] = std::move(size);
  if (integer_or(hc, "OomScoreAdj", 0) < 0 && !in.host.may_raise_rlimits)
    out.warnings.emplace_back("the OOM score adjustment was raised to 0: this host allows no less");

  json spec = {{"ociVersion", "1.0.2"},
               {"process", std::move(process)},
               {"root", {{"path", "rootfs"}, {"readonly", flag(hc, "ReadonlyRootfs")}}},
               {"mounts", std::move(plan.mounts)}};
  if (text(hc, "UTSMode") != "host") {
    const auto hostname = text(in.config, "Hostname");
    if (hostname.size() > 64)
      return refuse_create(
          "unable to start container process: error during container init: sethostname: invalid argument");
    spec["hostname"] = hostname;
  }

  auto resources = resources_of(hc, in.host);
  if (const auto cpu = resources.find("cpu"); cpu != resources.end() && integer_or(*cpu, "quota", 0) < 0)
    cpu->erase("quota");  // no limit is what a new one has, and crun writes it unsigned
  resources["devices"] = std::move(devices.rules);
  json linux = {
      {"cgroupsPath", in.cgroups_path}, {"namespaces", std::move(namespaces)}, {"resources", std::move(resources)}};
  if (!devices.nodes.empty()) linux["devices"] = std::move(devices.nodes);
  if (!sysctls.empty()) linux["sysctl"] = std::move(sysctls);
  if (!plan.rootfs_propagation.empty()) linux["rootfsPropagation"] = plan.rootfs_propagation;
  if (!privileged) {
    linux["maskedPaths"] = texts(hc, "MaskedPaths");
    linux["readonlyPaths"] = texts(hc, "ReadonlyPaths");
  }
  // A privileged container goes without the default profile, not without one that was asked for.
  if (security.seccomp != "unconfined" && (!privileged || !security.seccomp.empty())) {
    ARCA_TRY(seccomp,
             ready_seccomp_for(security.seccomp.empty() ? default_seccomp_profile() : security.seccomp, caps, in.host));
    if (!seccomp.program.empty())
      spec["annotations"]["run.oci.seccomp_bpf_data"] = seccomp.program;
    else if (!seccomp.object.empty())
      linux["seccomp"] = json::parse(seccomp.object, nullptr, false);
  }
  spec["linux"] = std::move(linux);
  out.json = to_text(spec);
  return out;
}

result<std::string> build_process(const spec_inputs& in, const nlohmann::json& exec, const resolved_user& user) {
  const bool tty = flag(exec, "Tty");
  auto cwd = text(exec, "WorkingDir");
  if (cwd.empty()) cwd = text(in.config, "WorkingDir");
  auto process = process_json(in, texts(exec, "Cmd"),
                              environment(in.config, tty, in.link_environment, texts(exec, "Env"), user.home),
                              std::move(cwd), tty, user);
  // The container's own are left out: the agent knows them, and an emulated one takes a while to read 42 names.
  const bool privileged = flag(exec, "Privileged");
  const auto& who = text(exec, "User");
  if (privileged || (!who.empty() && who != text(in.config, "User"))) {
    ARCA_TRY(caps,
             effective_capabilities(privileged ? json({{"Privileged", true}}) : in.host_config, in.host.bounding_caps));
    process["capabilities"] = capability_sets(caps, user.uid);
  }
  std::vector<std::string> warnings;
  ARCA_TRY(rlimits, rlimits_of(in.host_config, in.host, warnings));
  if (!rlimits.empty()) process["rlimits"] = std::move(rlimits);
  process["noNewPrivileges"] = parse_security(in.host_config).no_new_privileges;
  if (auto size = console_size(member(exec, "ConsoleSize")); tty && !size.is_null())
    process["consoleSize"] = std::move(size);
  return to_text(process);
}

}  // namespace arca::oci
