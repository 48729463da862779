#include "vm/guest_image/setup.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <optional>

#include "guest/proto/version.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/apt.hpp"
#include "vm/guest_image/elf.hpp"
#include "vm/guest_image/guest_image.hpp"
#include "vm/guest_image/initramfs.hpp"
#include "vm/guest_image/installed.hpp"
#include "vm/guest_image/kernel.hpp"
#include "vm/guest_image/package_source.hpp"

namespace arca::vm {
namespace {
constexpr uint64_t space_needed = 160u << 20;  // package, kernel, initramfs, and as much again for the one before
constexpr size_t largest_agent = 64u << 20;
constexpr const char* unfinished = ".new-";

/// A folder for a guest that is being made; gone with this object unless it was renamed.
class work_folder {
 public:
  explicit work_folder(const std::string& parent) : path_(parent + "/" + unfinished + random_hex(6)) {}
  ~work_folder() { static_cast<void>(fs::remove_tree(path_)); }  // the next run removes what is left
  work_folder(const work_folder&) = delete;
  work_folder& operator=(const work_folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

result<std::string> read_agent(const std::string& path) {
  auto agent = fs::read_file(path, largest_agent);
  if (!agent)
    return fail(agent.error().code(), "the agent cannot be read (" + agent.error().message() +
                                          "): build arca-guest or name it with --guest-path");
  if (!elf::is_x86_64(*agent) || elf::needs_loader(*agent))
    return fail(errc::invalid_argument,
                path + " is no statically linked program for x86-64: give another --guest-path");
  return agent;
}

result<void> remove_unfinished(const std::string& folder) {
  ARCA_TRY(names, fs::list(folder));
  for (const auto& name : names)
    if (starts_with(name, unfinished) || starts_with(name, ".current-"))
      ARCA_CHECK(fs::remove_tree(folder + "/" + name));
  return {};
}

result<void> check_space(const std::string& folder) {
  struct statvfs st {};
  if (::statvfs(folder.c_str(), &st) != 0) return fail_errno("statvfs " + folder);
  const uint64_t free = static_cast<uint64_t>(st.f_bavail) * st.f_frsize;
  if (free >= space_needed) return {};
  return fail(errc::unavailable, std::to_string(free >> 20) + " MiB are free in " + folder + ", a guest takes " +
                                     std::to_string(space_needed >> 20) + ": make room or use another --data-root");
}

class guest_setup {
 public:
  guest_setup(const setup_order& order, std::string agent)
      : order_(order),
        agent_(std::move(agent)),
        agent_digest_(digest_of_data(agent_)),
        folder_(guests_folder(order.data_root)),
        source_(folder_, order.package_file) {}

  result<setup_outcome> run() const {
    const auto package = source_.identify();
    if (!package && !order_.package_file.empty()) return fail(package.error());
    std::optional<package_id> last;
    if (const auto m = read_manifest(folder_ + "/" + current_version(order_.data_root))) last = m->package;
    // The lists of this host may have been cleared away: then the guest that is there is as good as ever.
    if (const auto likely = package ? *package : last) {
      if (auto same = unchanged(*likely)) return *same;
    }
    ARCA_CHECK(check_space(folder_));
    if (!package) return with_new_lists(package.error(), last);
    auto made = make(*package);
    if (made || made.error().code() != errc::unavailable || !order_.package_file.empty()) return made;
    return with_new_lists(made.error(), last);
  }

 private:
  void note(const std::string& text) const {
    if (order_.note) order_.note(text);
  }
  /// After a failure that may be the fault of old lists. Without network a new agent still meets the last kernel.
  result<setup_outcome> with_new_lists(error why, const std::optional<package_id>& last) const {
    note("the package lists are fetched: " + why.message());
    if (const auto newer = apt::updated_cloud_kernel(); !newer) {
      why = newer.error();
    } else {
      auto made = make(*newer);
      if (made || made.error().code() != errc::unavailable) return made;
      why = made.error();
    }
    if (!last || source_.kept(*last).empty()) return fail(why);
    note("the kernel of the last time is used: " + why.message());
    return make(*last);
  }

  std::string version_of(const package_id& package) const {
    return guest_version(package, agent_digest_, wanted_modules());
  }

  /// The guest that would be made, if it is there and whole; it is current then.
  std::optional<result<setup_outcome>> unchanged(const package_id& package) const {
    if (order_.force) return std::nullopt;
    const std::string version = version_of(package);
    const std::string path = folder_ + "/" + version;
    const auto found = read_manifest(path);
    if (!found || found->arca_version != ARCA_VERSION || found->protocol_version != agent_protocol_version)
      return std::nullopt;
    const auto kernel = digest_of_file(path + "/" + kernel_file);
    const auto initrd = digest_of_file(path + "/" + initrd_file);
    if (!kernel || !initrd || !(*kernel == found->kernel) || !(*initrd == found->initrd)) return std::nullopt;
    if (current_version(order_.data_root) != version)
      if (auto done = make_current(order_.data_root, version); !done) return result<setup_outcome>(fail(done.error()));
    return result<setup_outcome>(setup_outcome{*found, false});
  }

  result<setup_outcome> make(const package_id& wanted) const {
    const work_folder downloads(folder_);
    note("package " + wanted.name + " " + wanted.version);
    ARCA_TRY(deb, source_.fetch(wanted, downloads.path()));
    ARCA_TRY(deb_digest, digest_of_file(deb));
    note("kernel, modules and agent of " + deb);
    ARCA_TRY(package, read_kernel_package(deb));
    if (!(package.id == wanted))
      return fail(errc::invalid_argument, deb + " is " + package.id.name + " " + package.id.version + ", not " +
                                              wanted.name + " " + wanted.version);
    ARCA_TRY(kernel, vmlinux_of(package.bzimage));
    ARCA_TRY(modules, order_modules(package.modules, wanted_modules()));
    ARCA_TRY(initrd, make_initramfs(agent_, modules));

    manifest m;
    m.version = version_of(wanted);
    m.made_at = rfc3339_nano(now_nanos());
    m.arca_version = ARCA_VERSION;
    m.protocol_version = agent_protocol_version;
    m.kernel_release = package.release;
    m.package = wanted;
    m.package_file = deb_digest;
    m.agent = agent_digest_;
    m.modules = wanted_modules();
    const work_folder work(folder_);
    ARCA_CHECK(write(work.path(), m, kernel, initrd));
    ARCA_CHECK(put_in_place(work.path(), folder_ + "/" + m.version));
    ARCA_CHECK(make_current(order_.data_root, m.version));
    ARCA_CHECK(source_.keep(wanted, deb, deb_digest.sha256));
    return setup_outcome{m, true};
  }

  static result<void> write(const std::string& work, manifest& m, const std::string& kernel,
                            const std::string& initrd) {
    ARCA_CHECK(fs::make_dirs(work, 0755));
    ARCA_TRY(kernel_digest, write_durable(work + "/" + kernel_file, kernel));
    ARCA_TRY(initrd_digest, write_durable(work + "/" + initrd_file, initrd));
    m.kernel = kernel_digest;
    m.initrd = initrd_digest;
    ARCA_CHECK(write_durable(work + "/" + manifest_file, to_json(m)));
    if (::chmod(work.c_str(), 0755) != 0) return fail_errno("chmod " + work);
    return sync_folder(work);
  }

  /// One rename. A guest of this version (damaged, or --force) changes places with the new one and is removed as
  /// `work`.
  static result<void> put_in_place(const std::string& work, const std::string& path) {
    const bool there = ::access(path.c_str(), F_OK) == 0;
    if (::renameat2(AT_FDCWD, work.c_str(), AT_FDCWD, path.c_str(), there ? RENAME_EXCHANGE : RENAME_NOREPLACE) != 0)
      return fail_errno("rename " + work);
    return {};
  }

  const setup_order& order_;
  std::string agent_;
  file_digest agent_digest_;
  std::string folder_;
  package_source source_;
};

}  // namespace

result<setup_outcome> set_up_guest(const setup_order& order) {
  ARCA_TRY(agent, read_agent(order.agent_path));
  ARCA_CHECK(fs::make_dirs(order.data_root, 0711));
  const std::string folder = guests_folder(order.data_root);
  ARCA_CHECK(fs::make_dirs(folder, 0755));
  const auto lock = lock_guests(order.data_root);
  if (!lock) return fail(lock.error());
  ARCA_CHECK(remove_unfinished(folder));
  return guest_setup(order, std::move(agent)).run();
}

}  // namespace arca::vm
