#include "guest/native/seccomp.hpp"

#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "persistence/base/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest::native {
namespace {
using namespace json_fields;

constexpr const char* program_annotation = "run.oci.seccomp_bpf_data";

tl::unexpected<error> invalid(const std::string& why) {
  return fail(errc::invalid_argument, "invalid seccomp profile: " + why);
}

result<uint32_t> action_of(const std::string& name, int64_t errno_value) {
  const auto number = static_cast<uint16_t>(errno_value);
  static const std::map<std::string, uint32_t> table = {{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
                                                        {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
                                                        {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
                                                        {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
                                                        {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
                                                        {"SCMP_ACT_LOG", SCMP_ACT_LOG}};
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(number);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(number);
  const auto found = table.find(name);
  if (found == table.end()) return invalid("action " + go_quote(name));
  return found->second;
}

result<scmp_compare> comparison_of(const std::string& name) {
  static const std::map<std::string, scmp_compare> table = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                            {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                            {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                            {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                            {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                            {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                            {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  const auto found = table.find(name);
  if (found == table.end()) return invalid("comparison " + go_quote(name));
  return found->second;
}

// "SCMP_ARCH_X86_64" → libseccomp's "x86_64".
uint32_t architecture_of(const std::string& name) {
  return starts_with(name, "SCMP_ARCH_") ? seccomp_arch_resolve_name(lower(name.substr(10)).c_str()) : 0;
}

struct conditions {
  std::vector<scmp_arg_cmp> list;
  bool alternatives = false;  ///< runc: several conditions on one argument
};

result<conditions> conditions_of(const json& args) {
  conditions out;
  std::set<int64_t> seen;
  if (!args.is_array()) return out;
  for (const auto& arg : args) {
    ARCA_TRY(op, comparison_of(text(arg, "op")));
    const auto index = integer_or(arg, "index", 0);
    if (index < 0 || index > 5) return invalid("argument " + std::to_string(index));
    const auto value = [&](const char* name) {
      return member(arg, name).is_number() ? member(arg, name).get<uint64_t>() : 0;
    };
    out.list.push_back({static_cast<unsigned>(index), op, value("value"), value("valueTwo")});
    out.alternatives = !seen.insert(index).second || out.alternatives;
  }
  return out;
}

using filter_ptr = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

result<void> add_rule(const filter_ptr& filter, uint32_t action, const std::string& name, const conditions& when) {
  const int number = seccomp_syscall_resolve_name(name.c_str());
  if (number == __NR_SCMP_ERROR) return {};  // of a newer kernel; passed over as runc does
  const auto add = [&](const scmp_arg_cmp* first, size_t count) {
    const int rc = seccomp_rule_add_array(filter.get(), action, number, static_cast<unsigned>(count), first);
    return rc == 0 || rc == -EEXIST;
  };
  bool good = true;
  if (!when.alternatives) {
    good = add(when.list.data(), when.list.size());
  } else {
    for (const auto& one : when.list) good = good && add(&one, 1);
  }
  if (!good) return invalid("rule for " + go_quote(name));
  return {};
}

result<unsigned> flags_of(const json& seccomp) {
  static const std::map<std::string, unsigned> table = {
      {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
      {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
      {"SECCOMP_FILTER_FLAG_TSYNC", 0}};  // one thread: nothing to do
  unsigned flags = 0;
  for (const auto& name : texts(seccomp, "flags")) {
    const auto found = table.find(name);
    if (found == table.end()) return invalid("flag " + go_quote(name));
    flags |= found->second;
  }
  return flags;
}

result<std::vector<sock_filter>> export_program(const filter_ptr& filter) {
  const unique_fd file(memfd_create("seccomp", MFD_CLOEXEC));
  if (!file || seccomp_export_bpf(filter.get(), file.get()) != 0) return fail_errno("export the seccomp program");
  const auto size = lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> out(static_cast<size_t>(size) / sizeof(sock_filter));
  if (pread(file.get(), out.data(), static_cast<size_t>(size), 0) != size)
    return fail_errno("read the seccomp program");
  if (out.size() > BPF_MAXINSNS) return invalid("the program is too long");
  return out;
}
}  // namespace

result<std::vector<sock_filter>> decode_program(std::string_view base64) {
  while (base64.ends_with('=')) base64.remove_suffix(1);
  std::string bytes;
  bytes.reserve(base64.size() * 3 / 4);
  uint32_t group = 0;
  int bits = 0;
  for (const char c : base64) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const auto value = digits.find(c);
    if (value == std::string_view::npos) return invalid("the compiled program is not base64");
    group = group << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) bytes += static_cast<char>(group >> (bits -= 8) & 255);
  }
  if (bytes.empty() || bytes.size() % sizeof(sock_filter) != 0 || bytes.size() / sizeof(sock_filter) > BPF_MAXINSNS)
    return invalid("the compiled program has an odd size");
  std::vector<sock_filter> out(bytes.size() / sizeof(sock_filter));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

result<seccomp_filter> compile_seccomp(const json& seccomp) {
  if (!text(seccomp, "listenerPath").empty())
    return fail(errc::unsupported, "seccomp notifications are not supported in a VM");
  seccomp_filter out;
  ARCA_TRY(flags, flags_of(seccomp));
  out.flags = flags;
  const auto standard_errno = integer_or(seccomp, "defaultErrnoRet", EPERM);
  ARCA_TRY(standard, action_of(text(seccomp, "defaultAction"), standard_errno));
  const filter_ptr filter(seccomp_init(standard), seccomp_release);
  if (!filter) return invalid("default action");
  for (const auto& name : texts(seccomp, "architectures")) {
    const auto architecture = architecture_of(name);
    if (architecture == 0) return invalid("architecture " + go_quote(name));
    if (const int rc = seccomp_arch_add(filter.get(), architecture); rc != 0 && rc != -EEXIST)
      return invalid("architecture " + go_quote(name));
  }
  const auto& rules = member(seccomp, "syscalls");
  if (rules.is_array())
    for (const auto& rule : rules) {
      ARCA_TRY(action, action_of(text(rule, "action"), integer_or(rule, "errnoRet", EPERM)));
      if (action == standard) continue;
      ARCA_TRY(when, conditions_of(member(rule, "args")));
      for (const auto& name : texts(rule, "names")) ARCA_CHECK(add_rule(filter, action, name, when));
    }
  // A tree instead of a list: fewer instructions for each system call of the container.
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  ARCA_TRY(program, export_program(filter));
  out.program = std::move(program);
  return out;
}

result<seccomp_filter> seccomp_of_spec(const json& spec) {
  if (const auto ready = text(member(spec, "annotations"), program_annotation); !ready.empty()) {
    seccomp_filter out;
    ARCA_TRY(program, decode_program(ready));
    out.program = std::move(program);
    return out;
  }
  const auto& profile = member(member(spec, "linux"), "seccomp");
  return profile.is_object() ? compile_seccomp(profile) : result<seccomp_filter>(seccomp_filter{});
}

}  // namespace arca::guest::native
