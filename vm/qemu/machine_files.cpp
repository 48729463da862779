#include "vm/qemu/machine_files.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <cerrno>
#include <cstring>

#include "persistence/base/fs.hpp"
#include "vm/oci/json_access.hpp"

namespace arca::vm {
namespace {

constexpr size_t largest_record = 1 << 20;
constexpr int step_ms = 10;

result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(errc::invalid_argument, "socket path is too long: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

void pause_step() {
  const timespec t{0, step_ms * 1'000'000L};
  nanosleep(&t, nullptr);
}

nlohmann::json to_array(const stage_times& stages) {
  auto out = nlohmann::json::array();
  for (const auto& [name, ms] : stages) out.push_back({{"stage", name}, {"ms", ms}});
  return out;
}

stage_times stages_of(const nlohmann::json& document, const char* key) {
  stage_times out;
  if (const auto& list = oci::member(document, key); list.is_array())
    for (const auto& s : list)
      if (const auto& ms = oci::member(s, "ms"); ms.is_number())
        out.emplace_back(oci::text(s, "stage"), ms.get<double>());
  return out;
}

nlohmann::json to_array(const std::vector<start_step>& timeline) {
  auto out = nlohmann::json::array();
  for (const auto& step : timeline) out.push_back({{"what", step.what}, {"at", step.at}, {"ms", step.ms}});
  return out;
}

std::vector<start_step> timeline_of(const nlohmann::json& document) {
  std::vector<start_step> out;
  if (const auto& list = oci::member(document, "timeline"); list.is_array())
    for (const auto& s : list) {
      const auto& at = oci::member(s, "at");
      const auto& ms = oci::member(s, "ms");
      if (at.is_number() && ms.is_number()) out.push_back({oci::text(s, "what"), at.get<double>(), ms.get<double>()});
    }
  return out;
}

}  // namespace

std::string to_json(const machine_record& r) {
  auto processes = nlohmann::json::array();
  for (const auto& p : r.processes)
    processes.push_back({{"name", p.name}, {"pid", p.pid}, {"start_time", p.start_time}, {"owner", p.owner}});
  const nlohmann::json document = {{"id", r.id},
                                   {"cgroup", r.cgroup},
                                   {"boot_id", r.boot_id},
                                   {"secret", r.secret},
                                   {"guest", r.guest},
                                   {"accelerator", r.accelerator},
                                   {"memory_mib", r.memory_mib},
                                   {"cpus", r.cpus},
                                   {"processes", std::move(processes)},
                                   {"members", r.members},
                                   {"stages", to_array(r.stages)},
                                   {"engine_stages", to_array(r.engine_stages)},
                                   {"timeline", to_array(r.timeline)},
                                   {"devices", r.devices}};
  return oci::to_text(document);
}

result<machine_record> machine_record_from_json(const std::string& text) {
  const auto document = nlohmann::json::parse(text, nullptr, false);
  if (!document.is_object()) return fail(errc::invalid_argument, "a virtual machine's record is not JSON");
  machine_record r;
  r.id = oci::text(document, "id");
  r.cgroup = oci::text(document, "cgroup");
  r.boot_id = oci::text(document, "boot_id");
  r.secret = oci::text(document, "secret");
  r.guest = oci::text(document, "guest");
  r.accelerator = oci::text(document, "accelerator");
  r.memory_mib = static_cast<uint64_t>(oci::integer_or(document, "memory_mib", 0));
  r.cpus = static_cast<unsigned>(oci::integer_or(document, "cpus", 0));
  if (const auto& list = oci::member(document, "processes"); list.is_array())
    for (const auto& p : list)
      r.processes.push_back({oci::text(p, "name"), oci::integer_or(p, "pid", 0),
                             static_cast<uint64_t>(oci::integer_or(p, "start_time", 0)), oci::text(p, "owner")});
  r.members = oci::texts(document, "members");
  r.stages = stages_of(document, "stages");
  r.engine_stages = stages_of(document, "engine_stages");
  r.timeline = timeline_of(document);
  r.devices = oci::member(document, "devices");
  if (r.secret.empty() || r.cgroup.empty() || r.cgroup == "/")
    return fail(errc::invalid_argument, "a virtual machine's record is incomplete");
  return r;
}

result<machine_record> read_machine_record(const std::string& dir) {
  ARCA_TRY(text, fs::read_file(dir + '/' + machine_file::record, largest_record));
  return machine_record_from_json(text);
}

result<void> write_machine_record(const std::string& dir, const machine_record& record) {
  return fs::write_file_atomic(dir + '/' + machine_file::record, to_json(record), 0600);
}

result<unique_fd> listen_at(const std::string& path) {
  ARCA_TRY(address, address_of(path));
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket");
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("bind " + path);
  if (chmod(path.c_str(), 0600) != 0) return fail_errno("chmod " + path);
  if (::listen(fd.get(), 4) != 0) return fail_errno("listen at " + path);
  return fd;
}

result<unique_fd> connect_to(const std::string& path, int deadline_ms) {
  ARCA_TRY(address, address_of(path));
  unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket");
  for (int waited = 0;; waited += step_ms) {
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return fail_errno("connect to " + path);  // EAGAIN: the backlog is full
    if (waited >= deadline_ms) return fail(errc::timeout, "nobody takes connections at " + path);
    pause_step();
  }
}

result<unique_fd> lock_machine(const std::string& dir, int patience_ms) {
  ARCA_TRY(file, fs::open(dir + '/' + machine_file::lock, O_RDWR | O_CREAT));
  for (int waited = 0;; waited += step_ms) {
    if (flock(file.get(), LOCK_EX | LOCK_NB) == 0) return std::move(file);
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno("lock " + dir);
    if (waited >= patience_ms) return fail(errc::conflict, "another engine uses the virtual machine in " + dir);
    pause_step();
  }
}

}  // namespace arca::vm
