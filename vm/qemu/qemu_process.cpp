#include "vm/qemu/qemu_process.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <functional>

#include "persistence/base/fs.hpp"
#include "vm/qemu/machine_files.hpp"

namespace arca::vm {
namespace {

constexpr int version_limit_ms = 5000;

/// Below the ids that systemd and user namespaces hand out (524288 … 1879048191 is theirs), and stable for the folder.
uint32_t user_of(const std::string& dir) {
  constexpr uint32_t first = 0x70010000, count = 1u << 24;
  return first + static_cast<uint32_t>(std::hash<std::string>{}(dir) % count);
}

/// The group that may use KVM, where not everybody may; a node for root alone keeps QEMU out.
uint32_t group_of_kvm() {
  struct stat info {};
  return stat("/dev/kvm", &info) == 0 && (info.st_mode & S_IRGRP) != 0 && (info.st_mode & S_IWGRP) != 0 ? info.st_gid
                                                                                                        : 0;
}

/// For a user who has no right to the folders above.
result<unique_fd> open_guest_file(const std::string& path) {
  ARCA_TRY(file, fs::open(path, O_RDONLY));
  struct stat info {};
  if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return fail(errc::invalid_argument, path + " is no file that a virtual machine can boot");
  if ((info.st_mode & S_IROTH) == 0)
    return fail(errc::invalid_argument,
                path + " must be readable for everyone (chmod o+r): QEMU has a user of its own");
  return std::move(file);
}

}  // namespace

result<child_process> start_qemu(const qemu_plan& plan) {
  ARCA_TRY(qmp, listen_at(plan.dir + '/' + machine_file::qmp_socket));
  ARCA_TRY(agent, listen_at(plan.dir + '/' + machine_file::agent_socket));
  constexpr int append = O_WRONLY | O_CREAT | O_APPEND;
  ARCA_TRY(console, fs::open(plan.dir + '/' + machine_file::console, append));
  ARCA_TRY(log, fs::open(plan.dir + '/' + machine_file::qemu_log, append));
  ARCA_TRY(kernel, open_guest_file(plan.kernel));
  ARCA_TRY(initrd, open_guest_file(plan.initrd));

  auto settings = plan.settings;
  settings.name = plan.dir;
  child_plan child;
  child.descriptors = {qmp.get(), agent.get(), console.get(), kernel.get(), initrd.get()};
  settings.fds = {3, 4, 5, 6, 7};
  ARCA_TRY(arguments, qemu_command_line(settings));
  child.argv = std::move(arguments);
  child.output = log.get();
  child.cgroups = plan.cgroups;
  child.user = user_of(plan.dir);
  if (settings.kind == accelerator::kvm) child.group = group_of_kvm();
  return start_child(child);
}

std::string qemu_version(const std::string& program) {
  const auto text = output_of({program, "--version"}, version_limit_ms);  // "QEMU emulator version 7.2.22 (Debian …)"
  constexpr std::string_view before = "version ";
  const auto at = text ? text->find(before) : std::string::npos;
  if (at == std::string::npos) return {};
  const auto begin = at + before.size();
  return text->substr(begin, text->find_first_of(" \n", begin) - begin);
}

}  // namespace arca::vm
