#include "guest/native/container_spec.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <climits>

#include "guest/native/process_spec.hpp"
#include "persistence/base/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest::native {
namespace {
using namespace json_fields;

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

tl::unexpected<error> no_support(const std::string& what) {
  return fail(errc::unsupported, what + " is not supported in a VM");
}

bool usable_path(const std::string& path) {
  return !path.empty() && path.size() < PATH_MAX && path.find('\0') == std::string::npos;
}

result<void> refuse_unknown(const json& spec) {
  const auto& linux_part = member(spec, "linux");
  for (const char* name : {"uidMappings", "gidMappings", "intelRdt", "personality", "timeOffsets"})
    if (!member(linux_part, name).empty()) return no_support(std::string("linux.") + name);
  const auto& hooks = member(spec, "hooks");
  if (hooks.is_object())
    for (const auto& [name, list] : hooks.items())
      if (!list.empty()) return no_support("a hook");
  return {};
}

result<void> set_namespaces(const json& linux_part, container_plan& out) {
  static const std::map<std::string, int> kinds = {{"pid", CLONE_NEWPID},     {"mount", CLONE_NEWNS},
                                                   {"ipc", CLONE_NEWIPC},     {"uts", CLONE_NEWUTS},
                                                   {"network", CLONE_NEWNET}, {"cgroup", CLONE_NEWCGROUP}};
  const auto& list = member(linux_part, "namespaces");
  if (list.is_array())
    for (const auto& entry : list) {
      const auto type = text(entry, "type");
      const auto kind = kinds.find(type);
      if (kind == kinds.end()) return no_support("a namespace of type " + go_quote(type));
      if (auto path = text(entry, "path"); !path.empty()) {
        if (kind->second == CLONE_NEWNS) return no_support("joining a mount namespace");
        out.joined.push_back({kind->second, std::move(path), {}});
      } else if (kind->second == CLONE_NEWCGROUP) {
        out.new_cgroup_namespace = true;
      } else {
        out.new_namespaces |= static_cast<uint64_t>(kind->second);
      }
    }
  // Without one the mounts would be the machine's.
  if ((out.new_namespaces & CLONE_NEWNS) == 0)
    return fail(errc::invalid_argument, "no mount namespace in the OCI spec");
  return {};
}

bool has_own(const container_plan& plan, int kind) {
  return (plan.new_namespaces & static_cast<uint64_t>(kind)) != 0 ||
         std::ranges::any_of(plan.joined, [&](const joined_namespace& j) { return j.kind == kind; });
}

// Only what belongs to a namespace of the container's: everything else would change the machine.
result<void> set_sysctls(const json& linux_part, container_plan& out) {
  for (const auto& [name, value] : text_map(linux_part, "sysctl")) {
    if (name.find("..") != std::string::npos || name.find('\0') != std::string::npos || name.find('/') == 0)
      return fail(errc::invalid_argument, "invalid sysctl " + go_quote(name));
    const bool of_ipc = starts_with(name, "kernel.msg") || starts_with(name, "kernel.sem") ||
                        starts_with(name, "kernel.shm") || starts_with(name, "fs.mqueue.");
    const bool of_uts = name == "kernel.domainname" || name == "kernel.hostname";
    const bool allowed = (of_ipc && has_own(out, CLONE_NEWIPC)) || (of_uts && has_own(out, CLONE_NEWUTS)) ||
                         (starts_with(name, "net.") && has_own(out, CLONE_NEWNET));
    if (!allowed)
      return fail(errc::invalid_argument, "the sysctl " + go_quote(name) + " requires a namespace of its own");
    sysctl_plan one{name, "/proc/sys/" + name, value};
    std::replace(one.path.begin() + 10, one.path.end(), '.', '/');
    out.sysctls.push_back(std::move(one));
  }
  return {};
}

result<void> set_mounts(const json& spec, container_plan& out) {
  const auto& list = member(spec, "mounts");
  if (!list.is_array()) return {};
  for (const auto& entry : list) {
    mount_plan one;
    one.target = text(entry, "destination");
    one.type = text(entry, "type");
    one.source = text(entry, "source");
    if (!usable_path(one.target)) return fail(errc::invalid_argument, "a mount without destination");
    if (one.source.find('\0') != std::string::npos || one.type.find('\0') != std::string::npos)
      return fail(errc::invalid_argument, "NUL byte in a mount");
    if (!member(entry, "uidMappings").empty() || !member(entry, "gidMappings").empty())
      return no_support("a mount with mapped ids");
    ARCA_TRY(options, parse_mount_options(texts(entry, "options")));
    one.options = std::move(options);
    if (one.type == "bind") one.options.bind = true;
    if (one.type.empty() && !one.options.bind) return fail(errc::invalid_argument, "a mount without type");
    one.mode_of_target = one.type == "tmpfs" && one.options.data.find("mode=") == std::string::npos;
    if (one.options.bind && one.target == "/dev") out.standard_devices = false;
    out.mounts.push_back(std::move(one));
  }
  return {};
}

device_plan standard_device(const char* path, unsigned major_number, unsigned minor_number) {
  return {path, S_IFCHR | 0666, makedev(major_number, minor_number), 0, 0};
}

result<void> set_devices(const json& linux_part, container_plan& out) {
  if (out.standard_devices)
    out.devices = {standard_device("/dev/null", 1, 3),   standard_device("/dev/zero", 1, 5),
                   standard_device("/dev/full", 1, 7),   standard_device("/dev/tty", 5, 0),
                   standard_device("/dev/random", 1, 8), standard_device("/dev/urandom", 1, 9)};
  const auto& list = member(linux_part, "devices");
  if (!list.is_array()) return {};
  for (const auto& entry : list) {
    device_plan one;
    one.path = text(entry, "path");
    if (!usable_path(one.path) || one.path[0] != '/' || one.path.back() == '/')
      return fail(errc::invalid_argument, "invalid path of a device");
    const auto type = text(entry, "type");
    const mode_t kind = type == "b" ? S_IFBLK : type == "c" || type == "u" ? S_IFCHR : type == "p" ? S_IFIFO : 0;
    if (kind == 0) return fail(errc::invalid_argument, "invalid type of device " + go_quote(one.path));
    one.mode = kind | static_cast<mode_t>(integer_or(entry, "fileMode", 0666) & 07777);
    one.number = makedev(static_cast<unsigned>(integer_or(entry, "major", 0)),
                         static_cast<unsigned>(integer_or(entry, "minor", 0)));
    one.uid = static_cast<uid_t>(integer_or(entry, "uid", 0));
    one.gid = static_cast<gid_t>(integer_or(entry, "gid", 0));
    std::erase_if(out.devices, [&](const device_plan& d) { return d.path == one.path; });
    out.devices.push_back(std::move(one));
  }
  return {};
}

result<std::vector<std::string>> paths_of(const json& linux_part, const char* name) {
  auto list = texts(linux_part, name);
  for (const auto& path : list)
    if (!usable_path(path)) return fail(errc::invalid_argument, std::string("invalid path in linux.") + name);
  return list;
}
}  // namespace

result<container_plan> parse_container(const json& spec) {
  const auto& linux_part = member(spec, "linux");
  if (!member(spec, "process").is_object() || !linux_part.is_object())
    return fail(errc::invalid_argument, "the OCI spec is not an object with process and linux");
  ARCA_CHECK(refuse_unknown(spec));
  container_plan out;
  ARCA_TRY(process, parse_process(member(spec, "process")));
  out.process = std::move(process);
  ARCA_CHECK(set_namespaces(linux_part, out));
  out.hostname = text(spec, "hostname");
  out.domainname = text(spec, "domainname");
  out.has_hostname = member(spec, "hostname").is_string() && !out.hostname.empty();
  out.has_domainname = member(spec, "domainname").is_string() && !out.domainname.empty();
  if ((out.has_hostname || out.has_domainname) && !has_own(out, CLONE_NEWUTS))
    return fail(errc::invalid_argument, "hostname requires a UTS namespace");
  ARCA_CHECK(set_sysctls(linux_part, out));
  out.read_only_root = flag(member(spec, "root"), "readonly");
  if (const auto word = text(linux_part, "rootfsPropagation"); !word.empty()) {
    out.root_propagation = propagation_of(word, out.root_propagation_below);
    if (out.root_propagation == 0) return fail(errc::invalid_argument, "invalid rootfsPropagation " + go_quote(word));
  }
  ARCA_CHECK(set_mounts(spec, out));
  ARCA_CHECK(set_devices(linux_part, out));
  ARCA_TRY(masked, paths_of(linux_part, "maskedPaths"));
  ARCA_TRY(read_only, paths_of(linux_part, "readonlyPaths"));
  out.masked = std::move(masked);
  out.read_only = std::move(read_only);
  out.cgroup_path = text(linux_part, "cgroupsPath");
  return out;
}

}  // namespace arca::guest::native
