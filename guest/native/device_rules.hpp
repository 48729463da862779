// linux.resources.devices of an OCI runtime spec: which device nodes a container's processes may make, read and write.
// cgroup v1 has files for it, on v2 a BPF program answers.
#pragma once
#include <linux/bpf.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "persistence/base/error.hpp"

namespace arca::guest::native {

struct device_rule {
  bool allow = false;
  char type = 'a';                 ///< 'a' all, 'c', 'b'
  int64_t major = -1, minor = -1;  ///< -1: all
  uint32_t access = 0;             ///< BPF_DEVCG_ACC_…
};

/// The rules of the spec, then what every container may (as crun: making nodes, null and its kin, terminals); later
/// ones win. Empty when the spec has none: nothing is restricted. errc::invalid_argument above 1000 rules.
result<std::vector<device_rule>> device_rules(const nlohmann::json& resources);

/// A line for devices.allow or devices.deny: "c 1:3 rwm".
std::string legacy_line(const device_rule& rule);
/// A program of type BPF_PROG_TYPE_CGROUP_DEVICE.
std::vector<bpf_insn> device_program(const std::vector<device_rule>& rules);
/// Puts the program on a v2 cgroup; nothing to do when no rule denies anything. `folder`: the cgroup's descriptor.
result<void> attach_device_program(int folder, const std::vector<device_rule>& rules);

}  // namespace arca::guest::native
