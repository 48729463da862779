#include <nlohmann/json.hpp>

#include "persistence/base/text.hpp"
#include "vm/machine.hpp"

namespace arca::vm {

std::string to_json(const machine_identity& m) {
  const nlohmann::json document = {{"kind", m.kind},      {"id", m.id},   {"dir", m.dir},
                                   {"cgroup", m.cgroup},  {"pid", m.pid}, {"start_time", m.start_time},
                                   {"boot_id", m.boot_id}};
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

result<machine_identity> identity_from_json(const std::string& text) {
  const auto document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_object()) return fail(errc::invalid_argument, "a machine's identity is not JSON");
  machine_identity m;
  const auto read = [&](const char* name, std::string& into) {
    if (const auto at = document.find(name); at != document.end() && at->is_string()) into = at->get<std::string>();
  };
  read("kind", m.kind);
  read("id", m.id);
  read("dir", m.dir);
  read("cgroup", m.cgroup);
  read("boot_id", m.boot_id);
  if (const auto at = document.find("pid"); at != document.end() && at->is_number_integer()) m.pid = at->get<int64_t>();
  if (const auto at = document.find("start_time"); at != document.end() && at->is_number_integer())
    m.start_time = at->get<uint64_t>();
  const auto plain = [](const std::string& path) {
    return starts_with(path, "/") && path.find("/..") == std::string::npos;
  };
  if (m.id.empty() || !plain(m.dir) || !plain(m.cgroup) || m.cgroup == "/")
    return fail(errc::invalid_argument, "a machine's identity is incomplete");
  return m;
}

}  // namespace arca::vm
