#include "vm/qemu/virtiofsd.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>

#include "persistence/base/fs.hpp"
#include "vm/qemu/machine_files.hpp"

namespace arca::vm {
namespace {

constexpr int socket_number = 3;
constexpr uint64_t open_files = 1'000'000;  ///< one for each file that the guest knows

result<void> make_target(const std::string& path, bool is_folder) {
  if (is_folder) {
    if (mkdir(path.c_str(), 0755) != 0) return fail_errno("mkdir " + path);
    return {};
  }
  ARCA_TRY(file, fs::open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  (void)file;
  return {};
}

/// The share's own folder, so that a guest cannot fill the host's run folder through it.
result<unique_fd> read_only_folder(const std::string& path) {
  unique_fd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) return fail_errno("open_tree " + path);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return fail_errno("read-only mount of " + path);
  return tree;
}

}  // namespace

result<virtiofsd_program> find_virtiofsd() {
  for (const auto* path : {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"}) {
    if (access(path, X_OK) != 0) continue;
    ARCA_TRY(version, output_of({path, "--version"}, 5000));
    // QEMU's prints "virtiofsd version 7.2.22 (…)", the other "virtiofsd 1.10.0" or "virtiofsd backend 1.13.2".
    const bool c = version.find("FUSE kernel interface") != std::string::npos ||
                   version.find("virtiofsd version ") != std::string::npos;
    return virtiofsd_program{path, c ? virtiofsd_flavour::c : virtiofsd_flavour::rust};
  }
  return fail(errc::unsupported,
              "virtual machines need virtiofsd: install the package qemu-system-common (Debian 12) or virtiofsd");
}

std::vector<std::string> virtiofsd_arguments(const virtiofsd_program& program, const std::string& folder,
                                             share_cache cache, int socket) {
  const bool exclusive = cache == share_cache::exclusive;
  if (program.flavour == virtiofsd_flavour::c)
    return {program.path, "-f", "--fd=" + std::to_string(socket), "-o",
            "source=" + folder + (exclusive ? ",cache=always,writeback" : ",cache=auto") +
                ",xattr,announce_submounts,log_level=warn"};
  std::vector<std::string> words = {program.path,
                                    "--fd",
                                    std::to_string(socket),
                                    "--shared-dir",
                                    folder,
                                    "--cache",
                                    exclusive ? "always" : "auto",
                                    "--xattr",
                                    "--announce-submounts",
                                    "--log-level",
                                    "warn"};
  if (exclusive) words.emplace_back("--writeback");
  return words;
}

result<running_share> start_virtiofsd(const virtiofsd_program& program, const share_plan& plan) {
  const auto folder = plan.dir + '/' + plan.tag;
  ARCA_CHECK(make_target(folder, true));
  child_plan child;
  unique_fd own_folder;
  for (const auto& entry : plan.entries) {
    if (!entry.name.empty()) ARCA_CHECK(make_target(folder + '/' + entry.name, entry.is_folder));
    child.mounts.push_back({entry.tree, entry.name.empty() ? folder : folder + '/' + entry.name});
  }
  if (!plan.entries.empty() && !plan.entries.front().name.empty()) {
    ARCA_TRY(tree, read_only_folder(folder));
    own_folder = std::move(tree);
    child.mounts.insert(child.mounts.begin(), {own_folder.get(), folder});
  }

  // Connected before the server runs: nothing has to be waited for, and nobody else can connect later.
  const auto path = plan.dir + '/' + plan.tag + ".sock";
  ARCA_TRY(listener, listen_at(path));
  running_share share;
  auto socket = connect_to(path, 0);
  ::unlink(path.c_str());
  if (!socket) return fail(socket.error());
  share.socket = std::move(*socket);
  ARCA_TRY(log, fs::open(plan.dir + "/virtiofsd-" + plan.tag + ".log", O_WRONLY | O_CREAT | O_APPEND));

  child.argv = virtiofsd_arguments(program, folder, plan.cache, socket_number);
  child.descriptors = {listener.get()};
  child.output = log.get();
  child.cgroups = plan.cgroups;
  child.open_files = open_files;
  ARCA_TRY(process, start_child(child));
  share.process = std::move(process);
  return share;
}

}  // namespace arca::vm
