#include "guest/bundle.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "guest/agent_log.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
using nlohmann::json;

std::string path_of(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

// A file or folder opened with O_PATH in the daemon's mount namespace cannot be bound from here. Our namespace is a
// copy of it: the same path must lead to the same thing, which is checked.
result<void> bind_by_path(int fd, const struct stat& wanted, const std::string& target) {
  std::array<char, 4096> path{};
  const ssize_t n = readlink(path_of(fd).c_str(), path.data(), path.size() - 1);
  if (n <= 0) return fail_errno("read link of a mount source");
  const unique_fd here(::open(path.data(), O_PATH | O_CLOEXEC));
  struct stat found {};
  if (!here || fstat(here.get(), &found) != 0) return fail_errno(std::string("open mount source ") + path.data());
  if (found.st_dev != wanted.st_dev || found.st_ino != wanted.st_ino)
    return fail(errc::internal, std::string("mount source ") + path.data() + " is not what it was");
  if (::mount(path_of(here.get()).c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    return fail_errno(std::string("bind ") + path.data());
  return {};
}

result<void> attach(int fd, const std::string& target) {
  struct stat source {};
  if (fstat(fd, &source) != 0) return fail_errno("stat of a mount source");
  if (S_ISDIR(source.st_mode)) {
    if (mkdir(target.c_str(), 0700) != 0) return fail_errno("mkdir " + target);
  } else {
    const unique_fd made(::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!made) return fail_errno("create " + target);
  }
  if (move_mount(fd, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0) return {};
  if (errno != EINVAL) return fail_errno("attach mount at " + target);
  return bind_by_path(fd, source, target);
}

void set_terminal(json& process, bool tty, uint32_t rows, uint32_t columns) {
  process["terminal"] = tty;
  process.erase("consoleSize");
  if (tty && rows > 0 && columns > 0) process["consoleSize"] = {{"height", rows}, {"width", columns}};
}

result<void> attach_sources(const std::string& folder, create_spec& spec, json& mounts) {
  int count = 0;
  for (const auto& source : spec.mount_sources) {
    const auto found = std::ranges::find_if(
        mounts, [&](const json& m) { return m.is_object() && m.value("destination", json()) == source.destination; });
    if (found == mounts.end())
      return fail(errc::invalid_argument, "no mount at " + go_quote(source.destination) + " in the OCI spec");
    const std::string target = folder + "/mnt-" + std::to_string(count++);
    ARCA_CHECK(attach(source.tree.get(), target));
    (*found)["source"] = target;
  }
  return {};
}

result<bundle_facts> fill(const std::string& folder, create_spec& spec) {
  json config = json::parse(spec.oci_spec, nullptr, false);
  spec.oci_spec = {};
  if (!config.is_object() || !config.contains("process") || !config["process"].is_object() ||
      !config.contains("linux") || !config["linux"].is_object())
    return fail(errc::invalid_argument, "the OCI spec is not an object with process and linux");
  bundle_facts facts;
  const json& linux_part = config["linux"];
  if (const auto path = linux_part.find("cgroupsPath"); path != linux_part.end() && path->is_string())
    facts.cgroup_path = path->get<std::string>();
  facts.own_pid_namespace = false;
  if (const auto spaces = linux_part.find("namespaces"); spaces != linux_part.end() && spaces->is_array()) {
    facts.own_pid_namespace = std::ranges::any_of(*spaces, [](const json& s) {
      return s.is_object() && s.value("type", json()) == "pid" && !s.contains("path");
    });
  }
  std::string root = spec.rootfs_path;
  if (spec.rootfs_tree) {
    root = folder + "/rootfs";
    ARCA_CHECK(attach(spec.rootfs_tree.get(), root));
  }
  if (!config.contains("root") || !config["root"].is_object()) config["root"] = json::object();
  config["root"]["path"] = root;
  if (spec.read_only_rootfs) config["root"]["readonly"] = true;
  if (!spec.mount_sources.empty()) {
    if (!config.contains("mounts") || !config["mounts"].is_array()) config["mounts"] = json::array();
    ARCA_CHECK(attach_sources(folder, spec, config["mounts"]));
  }
  set_terminal(config["process"], spec.tty, spec.rows, spec.columns);
  ARCA_TRY(file, fs::open(folder + "/config.json", O_WRONLY | O_CREAT | O_EXCL));
  ARCA_CHECK(fs::write_all(file.get(), config.dump(-1, ' ', false, json::error_handler_t::replace)));
  return facts;
}
}  // namespace

result<bundle_facts> make_bundle(const std::string& folder, create_spec& spec) {
  if (mkdir(folder.c_str(), 0700) != 0) return fail_errno("mkdir " + folder);
  auto facts = fill(folder, spec);
  if (!facts) remove_bundle(folder);
  return facts;
}

void remove_bundle(const std::string& folder) {
  umount2((folder + "/rootfs").c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  for (int i = 0; umount2((folder + "/mnt-" + std::to_string(i)).c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0; ++i) {
  }
  if (auto removed = fs::remove_tree(folder); !removed) log().write(removed.error().message());
}

result<std::string> exec_process_text(const exec_spec& spec) {
  if (spec.process) return fail(errc::unsupported, "crun takes the OCI process as JSON");
  json process = json::parse(spec.oci_process, nullptr, false);
  if (!process.is_object()) return fail(errc::invalid_argument, "the OCI process is not an object");
  set_terminal(process, spec.tty, spec.rows, spec.columns);
  return process.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace arca::guest
