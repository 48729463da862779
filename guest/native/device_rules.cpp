#include "guest/native/device_rules.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

#include "persistence/base/json_fields.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest::native {
namespace {
using namespace json_fields;

constexpr size_t most_rules = 1000;
constexpr uint32_t make = BPF_DEVCG_ACC_MKNOD, reading = BPF_DEVCG_ACC_READ, writing = BPF_DEVCG_ACC_WRITE;
constexpr uint32_t everything = make | reading | writing;

constexpr device_rule for_all[] = {
    {true, 'c', -1, -1, make},     {true, 'b', -1, -1, make},       {true, 'c', 1, 3, everything},
    {true, 'c', 1, 5, everything}, {true, 'c', 1, 7, everything},   {true, 'c', 1, 8, everything},
    {true, 'c', 1, 9, everything}, {true, 'c', 5, 0, everything},   {true, 'c', 5, 1, everything},
    {true, 'c', 5, 2, everything}, {true, 'c', 136, -1, everything}};

uint32_t access_of(const std::string& letters) {
  uint32_t access = 0;
  for (const char c : letters) access |= c == 'm' ? make : c == 'r' ? reading : c == 'w' ? writing : 0;
  return letters.empty() ? everything : access;
}

constexpr bpf_insn instruction(int code, int to, int from, int jump, int64_t number) {
  bpf_insn made{};
  made.code = static_cast<uint8_t>(code);
  made.dst_reg = static_cast<uint8_t>(to & 15);
  made.src_reg = static_cast<uint8_t>(from & 15);
  made.off = static_cast<int16_t>(jump);
  made.imm = static_cast<int32_t>(number);
  return made;
}
constexpr bpf_insn load(int to, size_t offset) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, static_cast<int>(offset), 0);
}
constexpr bpf_insn copy(int to, int from) {
  return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
constexpr bpf_insn alu(int operation, int to, int64_t number) {
  return instruction(BPF_ALU64 | operation | BPF_K, to, 0, 0, number);
}

constexpr int kind = BPF_REG_3, access = BPF_REG_2, major_number = BPF_REG_4, minor_number = BPF_REG_5,
              scratch = BPF_REG_6;

/// Whether anything is left to be asked of the rules before.
bool add_rule(const device_rule& rule, std::vector<bpf_insn>& program) {
  std::vector<size_t> leaving;  // jumps to the next rule
  const auto leave_if = [&](int comparison, int what, int64_t number) {
    leaving.push_back(program.size());
    program.push_back(instruction(BPF_JMP | comparison | BPF_K, what, 0, 0, number));
  };
  if (rule.type != 'a') leave_if(BPF_JNE, kind, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (rule.access != everything) {
    // Allowed is what asks for nothing else; denied is what asks for any of it.
    program.push_back(copy(scratch, access));
    program.push_back(alu(BPF_AND, scratch, rule.allow ? everything & ~rule.access : rule.access));
    leave_if(rule.allow ? BPF_JNE : BPF_JEQ, scratch, 0);
  }
  if (rule.major >= 0) leave_if(BPF_JNE, major_number, rule.major);
  if (rule.minor >= 0) leave_if(BPF_JNE, minor_number, rule.minor);
  program.push_back(alu(BPF_MOV, BPF_REG_0, rule.allow ? 1 : 0));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  for (const size_t at : leaving) program[at].off = static_cast<int16_t>(program.size() - at - 1);
  return !leaving.empty();
}

long bpf(int command, bpf_attr& attributes) {
  return syscall(SYS_bpf, command, &attributes, sizeof attributes);
}
}  // namespace

result<std::vector<device_rule>> device_rules(const json& resources) {
  std::vector<device_rule> out;
  const auto& list = member(resources, "devices");
  if (!list.is_array() || list.empty()) return out;
  if (list.size() > most_rules) return fail(errc::invalid_argument, "too many device rules");
  for (const auto& entry : list) {
    const auto type = text(entry, "type");
    device_rule one;
    one.allow = flag(entry, "allow");
    one.type = type.empty() ? 'a' : type[0];
    if (type.size() > 1 || (one.type != 'a' && one.type != 'b' && one.type != 'c'))
      return fail(errc::invalid_argument, "invalid type of a device rule");
    one.major = std::clamp<int64_t>(integer_or(entry, "major", -1), -1, INT32_MAX);
    one.minor = std::clamp<int64_t>(integer_or(entry, "minor", -1), -1, INT32_MAX);
    one.access = access_of(text(entry, "access"));
    out.push_back(one);
  }
  out.insert(out.end(), std::begin(for_all), std::end(for_all));
  return out;
}

std::string legacy_line(const device_rule& rule) {
  const auto number = [](int64_t n) { return n < 0 ? std::string("*") : std::to_string(n); };
  std::string line{rule.type};
  line += ' ' + number(rule.major) + ':' + number(rule.minor) + ' ';
  if ((rule.access & reading) != 0) line += 'r';
  if ((rule.access & writing) != 0) line += 'w';
  if ((rule.access & make) != 0) line += 'm';
  return line;
}

std::vector<bpf_insn> device_program(const std::vector<device_rule>& rules) {
  // access_type holds the access in its upper half and the kind of device in its lower half.
  std::vector<bpf_insn> program = {load(access, offsetof(bpf_cgroup_dev_ctx, access_type)),
                                   copy(kind, access),
                                   alu(BPF_AND, kind, 0xffff),
                                   alu(BPF_RSH, access, 16),
                                   load(major_number, offsetof(bpf_cgroup_dev_ctx, major)),
                                   load(minor_number, offsetof(bpf_cgroup_dev_ctx, minor))};
  // The last rule that fits decides, so they are tried from the end.
  // What comes after one that fits everything cannot be reached, which the kernel refuses.
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule)
    if (!add_rule(*rule, program)) return program;
  program.push_back(alu(BPF_MOV, BPF_REG_0, 1));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  return program;
}

result<void> attach_device_program(int folder, const std::vector<device_rule>& rules) {
  if (std::ranges::all_of(rules, &device_rule::allow)) return {};
  const auto program = device_program(rules);
  bpf_attr loading{};
  loading.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  loading.insns = reinterpret_cast<uint64_t>(program.data());
  loading.insn_cnt = static_cast<uint32_t>(program.size());
  loading.license = reinterpret_cast<uint64_t>("GPL");
  const unique_fd loaded(static_cast<int>(bpf(BPF_PROG_LOAD, loading)));
  if (!loaded) return fail_errno("load the program of the device rules");
  bpf_attr attaching{};
  attaching.target_fd = static_cast<uint32_t>(folder);
  attaching.attach_bpf_fd = static_cast<uint32_t>(loaded.get());
  attaching.attach_type = BPF_CGROUP_DEVICE;
  attaching.attach_flags = BPF_F_ALLOW_MULTI;
  if (bpf(BPF_PROG_ATTACH, attaching) != 0) return fail_errno("attach the program of the device rules");
  return {};
}

}  // namespace arca::guest::native
