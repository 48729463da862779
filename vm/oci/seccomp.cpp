#include "vm/oci/seccomp.hpp"

#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "persistence/base/sha256.hpp"
#include "persistence/base/text.hpp"
#include "persistence/base/unique_fd.hpp"
#include "vm/oci/filter_tree.hpp"
#include "vm/oci/json_access.hpp"

namespace arca::oci {
namespace {

const std::map<std::string, uint32_t>& architectures() {
  static const std::map<std::string, uint32_t> table = {{"SCMP_ARCH_X86", SCMP_ARCH_X86},
                                                        {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
                                                        {"SCMP_ARCH_X32", SCMP_ARCH_X32},
                                                        {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
                                                        {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64}};
  return table;
}

std::string native_architecture(const host_limits& host) {
  return host.architecture == "arm64" ? "SCMP_ARCH_AARCH64" : "SCMP_ARCH_X86_64";
}

bool has_any(const std::vector<std::string>& list, const std::set<std::string>& set) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& s) { return set.contains(s); });
}

bool kernel_at_least(const std::string& wanted, const host_limits& host) {
  int major = 0, minor = 0;
  if (sscanf(wanted.c_str(), "%d.%d", &major, &minor) != 2) return false;
  return std::pair(host.kernel_major, host.kernel_minor) >= std::pair(major, minor);
}

/// Docker's rule: every named capability, any named architecture, at least the kernel; no excluded one of either.
bool applies(const json& rule, const std::set<std::string>& caps, const host_limits& host) {
  const auto& includes = member(rule, "includes");
  const auto& excludes = member(rule, "excludes");
  const auto here = [&](const std::string& arch) { return arch == host.architecture; };
  const auto in_arches = texts(includes, "arches"), out_arches = texts(excludes, "arches");
  if (std::any_of(out_arches.begin(), out_arches.end(), here)) return false;
  if (has_any(texts(excludes, "caps"), caps)) return false;
  if (const auto kernel = text(excludes, "minKernel"); !kernel.empty() && kernel_at_least(kernel, host)) return false;
  if (!in_arches.empty() && std::none_of(in_arches.begin(), in_arches.end(), here)) return false;
  for (const auto& cap : texts(includes, "caps"))
    if (!caps.contains(cap)) return false;
  if (const auto kernel = text(includes, "minKernel"); !kernel.empty() && !kernel_at_least(kernel, host)) return false;
  return true;
}

struct filter {
  scmp_filter_ctx ctx = nullptr;
  explicit filter(uint32_t action) : ctx(seccomp_init(action)) {}
  filter(const filter&) = delete;
  filter& operator=(const filter&) = delete;
  ~filter() { seccomp_release(ctx); }
};

/// 0 is SECCOMP_RET_KILL_THREAD, hence the optional.
std::optional<uint32_t> action_of(const std::string& name, int64_t errno_value) {
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(static_cast<uint16_t>(errno_value));
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(static_cast<uint16_t>(errno_value));
  return std::nullopt;
}

std::optional<scmp_compare> comparison_of(const std::string& name) {
  static const std::map<std::string, scmp_compare> table = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                            {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                            {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                            {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                            {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                            {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                            {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  const auto found = table.find(name);
  if (found == table.end()) return std::nullopt;
  return found->second;
}

std::string base64(std::string_view data) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((data.size() + 2) / 3 * 4);
  for (size_t at = 0; at < data.size(); at += 3) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i)
      group = group << 8 | (at + i < data.size() ? static_cast<unsigned char>(data[at + i]) : 0u);
    for (size_t i = 0; i < 4; ++i) out += at + i > data.size() ? '=' : digits[group >> (18 - 6 * i) & 63];
  }
  return out;
}

/// One rule for one name; an unknown name or an argument that this architecture has not is passed over, as runc does.
bool add_rule(scmp_filter_ctx ctx, uint32_t action, uint32_t default_action, const std::string& name,
              const json& args) {
  if (action == default_action) return true;
  const int number = seccomp_syscall_resolve_name(name.c_str());
  if (number == __NR_SCMP_ERROR) return true;
  std::vector<scmp_arg_cmp> conditions;
  std::set<int64_t> indexes;
  bool one_index_twice = false;
  if (args.is_array())
    for (const auto& arg : args) {
      const auto op = comparison_of(text(arg, "op"));
      const auto index = integer_or(arg, "index", 0);
      if (!op || index < 0 || index > 5) return false;
      const auto first = member(arg, "value").is_number() ? member(arg, "value").get<uint64_t>() : 0;
      const auto second = member(arg, "valueTwo").is_number() ? member(arg, "valueTwo").get<uint64_t>() : 0;
      conditions.push_back({static_cast<unsigned>(index), *op, first, second});
      one_index_twice = one_index_twice || !indexes.insert(index).second;
    }
  if (!one_index_twice) {
    const int rc =
        seccomp_rule_add_array(ctx, action, number, static_cast<unsigned>(conditions.size()), conditions.data());
    return rc == 0 || rc == -EEXIST;
  }
  for (const auto& condition : conditions)  // runc: several conditions on one argument are alternatives
    if (const int rc = seccomp_rule_add_array(ctx, action, number, 1, &condition); rc != 0 && rc != -EEXIST)
      return false;
  return true;
}

/// Go's name for it.
std::string kind_of(const json& value) {
  return value.is_boolean() ? "bool" : value.type_name();
}

/// The words of runc for the first name that it does not know.
result<void> check_names(const json& evaluated) {
  static const std::set<std::string> actions = {"KILL",  "KILL_THREAD", "KILL_PROCESS", "ERRNO", "TRAP",
                                                "ALLOW", "TRACE",       "LOG",          "NOTIFY"};
  static const std::set<std::string> arches = {"X86",         "X86_64",  "X32",     "ARM",      "AARCH64",   "MIPS",
                                               "MIPS64",      "MIPSEL",  "PPC",     "MIPSEL64", "MIPS64N32", "PPC64",
                                               "MIPSEL64N32", "PPC64LE", "RISCV64", "S390",     "S390X"};
  const auto check = [](const std::string& name, std::string_view prefix, const auto& known,
                        const char* what) -> result<void> {
    if (starts_with(name, prefix) && known.contains(name.substr(prefix.size()))) return {};
    return fail(errc::internal, create_failed + ("string " + name + " is not a valid " + what + " for seccomp"));
  };
  for (const auto& name : texts(evaluated, "architectures")) ARCA_CHECK(check(name, "SCMP_ARCH_", arches, "arch"));
  ARCA_CHECK(check(text(evaluated, "defaultAction"), "SCMP_ACT_", actions, "action"));
  for (const auto& rule : member(evaluated, "syscalls"))
    ARCA_CHECK(check(text(rule, "action"), "SCMP_ACT_", actions, "action"));
  return {};
}

std::string compile(const json& evaluated) {
  const auto standard = action_of(text(evaluated, "defaultAction"), integer_or(evaluated, "defaultErrnoRet", EPERM));
  if (!standard || !texts(evaluated, "flags").empty()) return {};
  filter f(*standard);
  if (f.ctx == nullptr) return {};
  for (const auto& name : texts(evaluated, "architectures")) {
    const auto arch = architectures().find(name);
    if (arch == architectures().end()) return {};
    if (const int rc = seccomp_arch_add(f.ctx, arch->second); rc != 0 && rc != -EEXIST) return {};
  }
  const auto& rules = member(evaluated, "syscalls");
  for (const auto& rule : rules) {
    const auto action = action_of(text(rule, "action"), integer_or(rule, "errnoRet", EPERM));
    if (!action) return {};
    for (const auto& name : texts(rule, "names"))
      if (!add_rule(f.ctx, *action, *standard, name, member(rule, "args"))) return {};
  }
  // A tree instead of a list where the search below is not possible.
  seccomp_attr_set(f.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  const unique_fd file(memfd_create("seccomp", MFD_CLOEXEC));
  if (!file || seccomp_export_bpf(f.ctx, file.get()) != 0) return {};
  const auto size = static_cast<size_t>(lseek(file.get(), 0, SEEK_END));
  std::vector<sock_filter> code(size / sizeof(sock_filter));
  if (pread(file.get(), code.data(), size, 0) != static_cast<ssize_t>(size)) return {};
  code = search_tree_of(code);
  return base64({reinterpret_cast<const char*>(code.data()), code.size() * sizeof(sock_filter)});
}

}  // namespace

result<nlohmann::json> seccomp_of(std::string_view profile, const std::set<std::string>& caps,
                                  const host_limits& host) {
  const auto wrong = [](const std::string& why) {
    return fail(errc::internal, "Decoding seccomp profile failed: " + why);
  };
  const auto document = json::parse(profile.begin(), profile.end(), nullptr, false);
  if (document.is_discarded()) {
    const auto first = profile.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return wrong("unexpected end of JSON input");
    if (profile[first] != '{')
      return wrong(std::string("invalid character '") + profile[first] + "' looking for beginning of value");
    return wrong("invalid JSON");
  }
  if (document.is_null() || document == json::object()) return json::object();
  if (!document.is_object())
    return wrong("json: cannot unmarshal " + kind_of(document) + " into Go value of type seccomp.Seccomp");
  if (const auto& action = member(document, "defaultAction"); !action.is_string() && !action.is_null())
    return wrong("json: cannot unmarshal " + kind_of(action) +
                 " into Go struct field Seccomp.defaultAction of type specs.LinuxSeccompAction");
  const auto& rules = member(document, "syscalls");
  json out = {{"defaultAction", text(document, "defaultAction")}, {"syscalls", json::array()}};
  if (const auto value = integer(document, "defaultErrnoRet")) out["defaultErrnoRet"] = *value;
  if (auto flags = texts(document, "flags"); !flags.empty()) out["flags"] = std::move(flags);
  auto arches = texts(document, "architectures");
  const auto& map = member(document, "archMap");
  if (!arches.empty() && map.is_array() && !map.empty())
    return fail(errc::internal,
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either "
                "'architectures' or 'archMap'");
  if (map.is_array())
    for (const auto& entry : map)
      if (text(entry, "architecture") == native_architecture(host)) {
        arches = texts(entry, "subArchitectures");
        arches.insert(arches.begin(), text(entry, "architecture"));
      }
  if (!arches.empty()) out["architectures"] = arches;
  if (rules.is_array())
    for (const auto& rule : rules) {
      if (!applies(rule, caps, host)) continue;
      auto names = texts(rule, "names");
      if (const auto name = text(rule, "name"); !name.empty()) {
        if (!names.empty())
          return fail(errc::internal,
                      "both 'name' and 'names' are specified in the seccomp profile, use either 'name' "
                      "or 'names'");
        names.push_back(name);
      }
      if (names.empty()) continue;
      json one = {{"names", std::move(names)}, {"action", text(rule, "action")}};
      if (const auto value = integer(rule, "errnoRet")) one["errnoRet"] = *value;
      if (const auto& args = member(rule, "args"); args.is_array() && !args.empty()) one["args"] = args;
      out["syscalls"].push_back(std::move(one));
    }
  ARCA_CHECK(check_names(out));
  return out;
}

std::string seccomp_program(const nlohmann::json& evaluated) {
  return compile(evaluated);
}

result<ready_seccomp> ready_seccomp_for(std::string_view profile, const std::vector<std::string>& caps,
                                        const host_limits& host) {
  static std::mutex lock;
  static std::map<std::string, ready_seccomp> kept;
  constexpr size_t limit = 32;
  auto key = profile.data() == default_seccomp_profile().data() ? std::string("default") : digest_of(profile);
  for (const auto& cap : caps) key += ' ' + cap;
  const std::lock_guard guard(
      lock);  // compiling under it: the second start with the same inputs waits instead of working
  if (const auto found = kept.find(key); found != kept.end()) return found->second;
  ARCA_TRY(evaluated, seccomp_of(profile, {caps.begin(), caps.end()}, host));
  ready_seccomp ready;
  if (!evaluated.empty()) ready.program = compile(evaluated);
  if (ready.program.empty() && !evaluated.empty()) ready.object = to_text(evaluated);
  if (kept.size() >= limit) kept.erase(kept.begin());
  return kept[key] = std::move(ready);
}

}  // namespace arca::oci
