#include "vm/oci/runtime_words.hpp"

#include "persistence/base/text.hpp"
#include "vm/oci/json_access.hpp"
#include "vm/oci/rootfs.hpp"

namespace arca::oci {
namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The reason after the last ": ", in lower case as Go writes errnos.
std::string reason_of(const std::string& text) {
  const auto at = text.rfind(": ");
  return lower(at == std::string::npos ? text : text.substr(at + 2));
}

/// Clients look for Go's spelling of an errno.
std::string with_go_reason(const std::string& text) {
  const auto reason = reason_of(text);
  return text.substr(0, text.size() - reason.size()) + reason;
}

/// Between the n-th pair of back quotes.
std::string quoted_part(const std::string& text, int n) {
  size_t at = 0;
  for (int i = 0; i < 2 * n; ++i) {
    at = text.find('`', at);
    if (at == std::string::npos) return {};
    ++at;
  }
  const auto begin = text.find('`', at);
  if (begin == std::string::npos) return {};
  const auto end = text.find('`', begin + 1);
  return end == std::string::npos ? std::string() : text.substr(begin + 1, end - begin - 1);
}

/// The last line says what ended the launch; others are remarks before it.
std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const auto at = text.rfind('\n');
  return at == std::string::npos ? text : text.substr(at + 1);
}

std::string executable_problem(const failed_launch& f, const std::string& text) {
  if (f.root_fd >= 0)
    if (auto found = check_executable(f.root_fd, f.program, f.path_env, f.cwd); !found) return found.error().message();
  const auto name = "exec: " + go_quote(f.program) + ": ";
  if (f.program.empty()) return name + "executable file not found in $PATH";
  if (!has(text, "executable file `")) return name + "permission denied";
  if (f.program.find('/') == std::string::npos) return name + "executable file not found in $PATH";
  return name + "stat " + f.program + ": no such file or directory";
}

}  // namespace

error runtime_error(std::string words) {
  const auto text = lower(words);
  if (has(text, "permission denied")) return {errc::invalid_argument, std::move(words)};
  if (has(text, "not a directory"))
    return {errc::invalid_argument, words +
                                        ": Are you trying to mount a directory onto a file (or vice-versa)? Check if "
                                        "the specified host path exists and is the expected type"};
  if (has(text, "executable file not found") || has(text, "no such file or directory"))
    return {errc::invalid_argument, std::move(words)};
  return {errc::internal, std::move(words)};
}

error init_error(const std::string& text) {
  return runtime_error(create_failed +
                       ("unable to start container process: error during container init: " + with_go_reason(text)));
}

error launch_error(const failed_launch& f) {
  const std::string prefix =
      (f.exec ? std::string(exec_failed) : std::string(create_failed)) + "unable to start container process: ";
  const auto text = last_line(f.text);
  const auto init = prefix + (f.exec ? "" : "error during container init: ");
  if (has(text, "open executable: ") || has(text, "executable file `") || has(text, "executable path not specified"))
    return runtime_error(prefix + executable_problem(f, text));
  if (has(text, "chdir ") && has(text, "`"))
    return runtime_error(init + "chdir to cwd (" + go_quote(f.cwd.empty() ? "/" : f.cwd) +
                         ") set in config.json failed: " + reason_of(text));
  if (has(text, "error mounting ") || has(text, "mount `")) {
    const auto target = '/' + quoted_part(text, 1);
    const auto known = f.mount_sources.find(target);  // the launcher was given another path
    const auto source = known == f.mount_sources.end() ? quoted_part(text, 0) : known->second;
    return runtime_error(init + "error mounting " + go_quote(source) + " to rootfs at " + go_quote(target) +
                         ": mount " + source + ':' + target + ": " + reason_of(text));
  }
  if (has(text, "setrlimit `"))
    return {errc::internal,
            init + "error setting rlimits for ready process: " + quoted_part(text, 0) + ": " + reason_of(text)};
  if (has(text, "sethostname: ")) return {errc::internal, init + "sethostname: " + reason_of(text)};
  if (text.empty()) return {errc::internal, init + "the launcher gave no reason"};
  return runtime_error(init + with_go_reason(text));
}

}  // namespace arca::oci
