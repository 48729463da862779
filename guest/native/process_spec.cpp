#include "guest/native/process_spec.hpp"

#include <sys/capability.h>

#include <algorithm>
#include <climits>

#include "persistence/base/json_fields.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest::native {
namespace {
using namespace json_fields;

constexpr const char* usual_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t most_strings = 1 << 16;  // of argv and of the environment; the kernel has limits of its own

const std::map<std::string, int>& rlimit_numbers() {
  static const std::map<std::string, int> table = {
      {"RLIMIT_AS", RLIMIT_AS},         {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
      {"RLIMIT_DATA", RLIMIT_DATA},     {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
      {"RLIMIT_NICE", RLIMIT_NICE},     {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
      {"RLIMIT_NOFILE", RLIMIT_NOFILE}, {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
      {"RLIMIT_RTPRIO", RLIMIT_RTPRIO}, {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
      {"RLIMIT_STACK", RLIMIT_STACK}};
  return table;
}

bool c_strings(const std::vector<std::string>& list) {
  return list.size() <= most_strings &&
         std::ranges::none_of(list, [](const std::string& s) { return s.find('\0') != std::string::npos; });
}

// 2^64-1 (RLIM_INFINITY) is larger than a signed number.
rlim_t limit_of(const json& entry, const char* name) {
  const auto& value = member(entry, name);
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  return value.is_number() ? static_cast<rlim_t>(value.get<int64_t>()) : 0;
}

result<std::vector<rlimit_value>> rlimits_of(const json& process) {
  std::vector<rlimit_value> out;
  const auto& list = member(process, "rlimits");
  if (!list.is_array()) return out;
  for (const auto& entry : list) {
    rlimit_value one;
    one.name = text(entry, "type");
    const auto found = rlimit_numbers().find(one.name);
    if (found == rlimit_numbers().end()) return fail(errc::invalid_argument, "invalid rlimit " + go_quote(one.name));
    one.resource = found->second;
    one.value = {limit_of(entry, "soft"), limit_of(entry, "hard")};
    out.push_back(std::move(one));
  }
  return out;
}

template <class Id>
result<Id> id_of(int64_t value, const char* name) {
  // -1 means "leave it" to the system calls.
  if (value < 0 || value >= UINT32_MAX) return fail(errc::invalid_argument, std::string("invalid ") + name);
  return static_cast<Id>(value);
}

result<void> set_user(plain_process& plain, process_plan& out) {
  ARCA_TRY(uid, id_of<uid_t>(plain.uid, "uid"));
  ARCA_TRY(gid, id_of<gid_t>(plain.gid, "gid"));
  out.uid = uid;
  out.gid = gid;
  out.groups = std::move(plain.additional_gids);
  if (out.groups.size() > NGROUPS_MAX) return fail(errc::invalid_argument, "too many groups");
  return {};
}

plain_process plain_part(const json& process) {
  plain_process out;
  out.args = texts(process, "args");
  out.env = texts(process, "env");
  out.cwd = text(process, "cwd");
  const auto& user = member(process, "user");
  out.uid = integer_or(user, "uid", 0);
  out.gid = integer_or(user, "gid", 0);
  const auto& groups = member(user, "additionalGids");
  if (groups.is_array())
    for (const auto& group : groups)
      if (group.is_number()) out.additional_gids.push_back(static_cast<gid_t>(group.get<int64_t>()));
  out.lacking_folders = integer_or(process, "arcaLackingFolders", 0);
  return out;
}
}  // namespace

uint64_t capability_mask(const std::vector<std::string>& names) {
  uint64_t mask = 0;
  for (const auto& name : names) {
    cap_value_t number = 0;
    if (cap_from_name(lower(name).c_str(), &number) == 0 && number < 64) mask |= uint64_t{1} << number;
  }
  return mask;
}

std::vector<std::string> executable_candidates(const std::string& name, const std::vector<std::string>& env) {
  if (name.empty()) return {};
  if (name.find('/') != std::string::npos) return {name};
  std::string path = usual_path;
  for (const auto& variable : env)
    if (starts_with(variable, "PATH=")) path = variable.substr(5);
  std::vector<std::string> out;
  for (const auto& folder : split(path, ':')) out.push_back((folder.empty() ? "." : folder) + '/' + name);
  return out;
}

result<process_plan> parse_process(const json& process) {
  if (!process.is_object()) return fail(errc::invalid_argument, "the OCI process is not an object");
  return plan_process(plain_part(process), process);
}

result<process_plan> plan_process(plain_process plain, const json& process) {
  process_plan out;
  out.args = std::move(plain.args);
  out.env = std::move(plain.env);
  if (out.args.empty()) return fail(errc::invalid_argument, "executable path not specified");
  if (!c_strings(out.args) || !c_strings(out.env))
    return fail(errc::invalid_argument, "arguments or environment are too many or contain a NUL byte");
  out.candidates = executable_candidates(out.args[0], out.env);
  if (out.args[0].find('/') == std::string::npos)
    out.lacking = static_cast<size_t>(std::max<int64_t>(0, plain.lacking_folders));
  if (!plain.cwd.empty()) out.cwd = std::move(plain.cwd);
  if (out.cwd.find('\0') != std::string::npos || out.cwd.size() >= PATH_MAX)
    return fail(errc::invalid_argument, "invalid working directory");
  ARCA_CHECK(set_user(plain, out));
  if (!process.is_object()) return out;
  if (const auto mask = integer(member(process, "user"), "umask")) out.mask = static_cast<mode_t>(*mask & 0777);
  if (const auto& sets = member(process, "capabilities"); sets.is_object()) {
    out.has_capabilities = true;
    // Three of them are the same list as a rule, and to look the names up takes time.
    const auto bounding = capability_mask(texts(sets, "bounding"));
    const auto mask = [&](const char* name) {
      return member(sets, name) == member(sets, "bounding") ? bounding : capability_mask(texts(sets, name));
    };
    out.capabilities = {bounding, mask("effective"), mask("permitted"), mask("inheritable"), mask("ambient")};
  }
  out.no_new_privileges = flag(process, "noNewPrivileges");
  ARCA_TRY(rlimits, rlimits_of(process));
  out.rlimits = std::move(rlimits);
  if (const auto score = integer(process, "oomScoreAdj")) out.oom_score_adj = std::to_string(*score);
  return out;
}

void process_plan::seal() {
  argv.clear();
  envp.clear();
  for (auto& each : args) argv.push_back(each.data());
  for (auto& each : env) envp.push_back(each.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);
}

}  // namespace arca::guest::native
