#include "guest/exit_journal.hpp"

#include <fcntl.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using nlohmann::json;

auto find(std::vector<exit_record>& in, const std::string& container, const std::string& process) {
  return std::ranges::find_if(in, [&](const auto& r) { return r.container == container && r.process == process; });
}

template <class T>
T field(const json& from, const char* name, T otherwise) {
  const auto found = from.find(name);
  if constexpr (std::is_same_v<T, std::string>) {
    return found != from.end() && found->is_string() ? found->get<T>() : otherwise;
  } else if constexpr (std::is_same_v<T, bool>) {
    return found != from.end() && found->is_boolean() ? found->get<T>() : otherwise;
  } else {
    return found != from.end() && found->is_number_integer() ? found->get<T>() : otherwise;
  }
}
}  // namespace

std::string to_line(const exit_record& r) {
  const json line = {{"container", r.container}, {"process", r.process},
                     {"code", r.code},           {"at", r.at},
                     {"oom", r.oom_killed},      {"last_sequence", r.last_sequence}};
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

std::vector<exit_record> parse_journal(const std::string& text) {
  std::vector<exit_record> out;
  for (const auto& line : split(text, '\n')) {
    const json parsed = json::parse(line, nullptr, false);
    if (!parsed.is_object()) continue;  // a torn line at the end
    exit_record r;
    r.container = field<std::string>(parsed, "container", {});
    r.process = field<std::string>(parsed, "process", {});
    r.code = field<int>(parsed, "code", 255);
    r.at = field<int64_t>(parsed, "at", 0);
    r.oom_killed = field<bool>(parsed, "oom", false);
    r.last_sequence = field<uint64_t>(parsed, "last_sequence", 0);
    if (r.container.empty() || r.process.empty()) continue;
    if (const auto known = find(out, r.container, r.process); known != out.end()) {
      *known = r;
    } else {
      out.push_back(r);
    }
  }
  return out;
}

result<void> exit_journal::write(const exit_record& record) {
  if (const auto known = find(records_, record.container, record.process); known != records_.end()) {
    if (*known == record) return {};
    *known = record;
  } else {
    records_.push_back(record);
  }
  if (path_.empty()) return {};
  ARCA_TRY(file, fs::open(path_, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW));
  failpoint::reached("before-exit-journal");
  ARCA_CHECK(fs::write_all(file.get(), to_line(record)));
  failpoint::reached("exit-journal");
  return {};
}

result<void> exit_journal::erase(const std::string& container, const std::string& process) {
  const auto known = find(records_, container, process);
  if (known == records_.end()) return {};
  records_.erase(known);
  if (path_.empty()) return {};
  if (records_.empty()) {
    if (::truncate(path_.c_str(), 0) != 0) return fail_errno("truncate " + path_);
    return {};
  }
  std::string text;
  for (const auto& r : records_) text += to_line(r);
  return fs::write_file_atomic(path_, text);
}

}  // namespace arca::guest
