#include "actors/machine/machine_views.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "persistence/base/fs.hpp"
#include "persistence/base/log.hpp"
#include "vm/oci/json_access.hpp"
#include "vm/qemu/machine_files.hpp"

namespace arca::machines {
namespace {

constexpr size_t kept_bytes = 64 << 10;
constexpr int64_t shown_bytes = 1 << 20;  ///< of one answer: as much as a console log is allowed to have
constexpr const char* kept_log = "/machine.log";

double rounded(double ms) {
  return std::round(ms * 1000) / 1000;
}

nlohmann::json by_name(const vm::stage_times& stages) {
  auto out = nlohmann::json::object();
  for (const auto& [name, ms] : stages) out[name] = rounded(ms);
  return out;
}

std::string last_part(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

struct log_part {
  std::string text;
  uint64_t next = 0;
};
/// From `offset` on; from its beginning when it has become shorter, as log_limits makes it.
result<log_part> read_part(const std::string& path, uint64_t offset) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail_errno("open " + path);
  struct stat info {};
  if (fstat(file.get(), &info) != 0) return fail_errno("stat " + path);
  auto begin = static_cast<int64_t>(std::min<uint64_t>(offset, INT64_MAX));
  if (begin > info.st_size) begin = 0;
  begin = std::max<int64_t>(begin, info.st_size - shown_bytes);
  log_part out;
  out.text.resize(static_cast<size_t>(info.st_size - begin));
  const auto n = pread(file.get(), out.text.data(), out.text.size(), begin);
  if (n < 0) return fail_errno("read " + path);
  out.text.resize(static_cast<size_t>(n));
  out.next = static_cast<uint64_t>(begin + n);
  return out;
}

std::string answer_of(const std::string& text, uint64_t next, bool running) {
  return oci::to_text({{"Text", text}, {"Next", next}, {"Running", running}});
}

}  // namespace

std::string details_of(const vm::machine& box, const vm::stage_times& engine_stages) {
  if (box.on_host_kernel()) return {};
  const auto& identity = box.identity();
  const auto of = box.describe();
  return oci::to_text({{"Kind", identity.kind},
                       {"Id", last_part(identity.dir)},
                       {"Pid", identity.pid},
                       {"MemoryMiB", of.memory_mib},
                       {"Cpus", of.cpus},
                       {"Accelerator", of.accelerator},
                       {"Guest", of.guest},
                       {"Stages", by_name(of.stages)},
                       {"EngineStages", by_name(engine_stages.empty() ? of.engine_stages : engine_stages)},
                       {"StartMs", rounded(vm::whole_start(of.timeline))},
                       {"EngineMs", rounded(vm::engine_share(of.timeline))}});
}

bool keep_boot_log(const vm::machine& box, const std::string& container_dir) {
  if (box.on_host_kernel()) return false;
  const auto text = box.boot_log(kept_bytes);
  if (text.empty()) return false;
  if (auto written = fs::write_file_atomic(container_dir + kept_log, text); !written) {
    log::warn("boot log is not kept", log::kv("container", box.identity().id),
              log::kv("reason", written.error().message()));
    return false;
  }
  return true;
}

result<std::string> show(const std::string& identity_text) {
  ARCA_TRY(identity, vm::identity_from_json(identity_text));
  auto document = nlohmann::json::object();
  if (identity.kind == "vm") {
    ARCA_TRY(text, fs::read_file(identity.dir + '/' + vm::machine_file::record, 1u << 20));
    document = nlohmann::json::parse(text, nullptr, false);
    if (!document.is_object()) return fail(errc::internal, "machine.json in " + identity.dir + " is damaged");
    document.erase("secret");
  }
  document["kind"] = identity.kind;
  document["id"] = identity.id;
  document["dir"] = identity.dir;
  document["cgroup"] = identity.cgroup;
  document["pid"] = identity.pid;
  return oci::to_text(document);
}

result<std::string> boot_log(const read_boot_log& request, const std::string& container_dir) {
  if (request.machine.empty()) {
    const auto kept = read_part(container_dir + kept_log, 0);
    if (kept) return answer_of(kept->text, kept->next, false);
    return fail(errc::not_found, "no boot log is kept of container " + request.container_id.substr(0, 12) +
                                     ": it has not run in a virtual machine");
  }
  ARCA_TRY(identity, vm::identity_from_json(request.machine));
  if (identity.kind != "vm")
    return fail(errc::conflict, "container " + request.container_id.substr(0, 12) +
                                    " runs in a machine of kind namespace, which boots no kernel");
  std::string before;
  if (request.offset == 0)
    if (auto said = read_part(identity.dir + '/' + vm::machine_file::qemu_log, 0)) before = std::move(said->text);
  ARCA_TRY(part, read_part(identity.dir + '/' + vm::machine_file::console, request.offset));
  return answer_of(before + part.text, part.next, true);
}

}  // namespace arca::machines
