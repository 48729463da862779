#include "vm/oci/capabilities.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"

namespace arca::oci {
namespace {

result<std::vector<std::string>> normalise(const nlohmann::json& host_config, const char* field) {
  std::vector<std::string> names;
  const auto list = host_config.find(field);
  if (list == host_config.end() || !list->is_array()) return names;
  for (const auto& item : *list) {
    if (!item.is_string()) continue;
    auto name = item.get<std::string>();
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    if (name != "ALL" && !starts_with(name, "CAP_")) name = "CAP_" + name;
    const auto& all = all_capabilities();
    if (name != "ALL" && std::find(all.begin(), all.end(), name) == all.end())
      return fail(errc::invalid_argument,
                  std::string("invalid ") + field + ": unknown capability: " + go_quote(item.get<std::string>()));
    names.push_back(name);
  }
  return names;
}

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

const std::vector<std::string>& all_capabilities() {
  static const std::vector<std::string> names = {"CAP_CHOWN",
                                                 "CAP_DAC_OVERRIDE",
                                                 "CAP_DAC_READ_SEARCH",
                                                 "CAP_FOWNER",
                                                 "CAP_FSETID",
                                                 "CAP_KILL",
                                                 "CAP_SETGID",
                                                 "CAP_SETUID",
                                                 "CAP_SETPCAP",
                                                 "CAP_LINUX_IMMUTABLE",
                                                 "CAP_NET_BIND_SERVICE",
                                                 "CAP_NET_BROADCAST",
                                                 "CAP_NET_ADMIN",
                                                 "CAP_NET_RAW",
                                                 "CAP_IPC_LOCK",
                                                 "CAP_IPC_OWNER",
                                                 "CAP_SYS_MODULE",
                                                 "CAP_SYS_RAWIO",
                                                 "CAP_SYS_CHROOT",
                                                 "CAP_SYS_PTRACE",
                                                 "CAP_SYS_PACCT",
                                                 "CAP_SYS_ADMIN",
                                                 "CAP_SYS_BOOT",
                                                 "CAP_SYS_NICE",
                                                 "CAP_SYS_RESOURCE",
                                                 "CAP_SYS_TIME",
                                                 "CAP_SYS_TTY_CONFIG",
                                                 "CAP_MKNOD",
                                                 "CAP_LEASE",
                                                 "CAP_AUDIT_WRITE",
                                                 "CAP_AUDIT_CONTROL",
                                                 "CAP_SETFCAP",
                                                 "CAP_MAC_OVERRIDE",
                                                 "CAP_MAC_ADMIN",
                                                 "CAP_SYSLOG",
                                                 "CAP_WAKE_ALARM",
                                                 "CAP_BLOCK_SUSPEND",
                                                 "CAP_AUDIT_READ",
                                                 "CAP_PERFMON",
                                                 "CAP_BPF",
                                                 "CAP_CHECKPOINT_RESTORE"};
  return names;
}

const std::vector<std::string>& default_capabilities() {
  static const std::vector<std::string> names = {
      "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
      "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
      "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
      "CAP_KILL",    "CAP_AUDIT_WRITE"};
  return names;
}

result<std::vector<std::string>> effective_capabilities(const nlohmann::json& host_config, uint64_t bounding) {
  ARCA_TRY(add, normalise(host_config, "CapAdd"));
  ARCA_TRY(drop, normalise(host_config, "CapDrop"));
  const auto& all = all_capabilities();
  std::vector<std::string> wanted;
  if (host_config.value("Privileged", false)) {
    wanted = all;
  } else if (contains(add, "ALL")) {
    for (const auto& name : all)
      if (!contains(drop, name)) wanted.push_back(name);
  } else if (contains(drop, "ALL")) {
    wanted = add;
  } else {
    for (const auto& name : default_capabilities())
      if (!contains(drop, name)) wanted.push_back(name);
    for (const auto& name : add)
      if (!contains(wanted, name)) wanted.push_back(name);
  }
  std::vector<std::string> allowed;
  for (const auto& name : wanted) {
    const auto at = std::find(all.begin(), all.end(), name);
    if (at != all.end() && (bounding >> (at - all.begin()) & 1)) allowed.push_back(name);
  }
  return allowed;
}

}  // namespace arca::oci
