#include "guest/native/sources.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "guest/cgroup.hpp"
#include "guest/native/below.hpp"
#include "guest/native/cgroup_tree.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest::native {
namespace {

unsigned clone_flags(bool recursive) {
  return OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U);
}

bool apply(int tree, const mount_options& options) {
  const auto set = [tree](bool below, uint64_t on, uint64_t off, unsigned long propagation) {
    if (on == 0 && off == 0 && propagation == 0) return true;
    mount_attr attributes{};
    attributes.attr_set = on;
    attributes.attr_clr = off;
    attributes.propagation = propagation;
    return mount_setattr(tree, "", AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0U), &attributes, sizeof attributes) == 0;
  };
  return set(options.propagation_below, 0, 0, options.propagation) && set(false, options.set, options.clear, 0) &&
         set(true, options.set_below, options.clear_below, 0);
}

// O_PATH descriptors of another mount namespace (the daemon's, of which ours is a copy) cannot be cloned. The same path
// must lead to the same thing here, which is checked.
unique_fd clone_by_path(int fd, bool recursive) {
  std::array<char, 4096> path{};
  if (readlink(fd_path(fd).c_str(), path.data(), path.size() - 1) <= 0) return {};
  struct stat wanted {};
  struct stat found {};
  unique_fd here(open_tree(AT_FDCWD, path.data(), clone_flags(recursive)));
  if (!here || fstat(fd, &wanted) != 0 || fstat(here.get(), &found) != 0) return {};
  if (wanted.st_dev == found.st_dev && wanted.st_ino == found.st_ino) return here;
  errno = ESTALE;
  return {};
}

/// A detached mount of what `fd` is, with `options` applied; empty with errno.
unique_fd detach(unique_fd fd, const mount_options& options, bool recursive) {
  unique_fd copy(open_tree(fd.get(), "", clone_flags(recursive) | AT_EMPTY_PATH));
  if (copy) return apply(copy.get(), options) ? std::move(copy) : unique_fd();
  if (errno != EINVAL) return {};
  // A detached mount cannot be copied before Linux 6.15, but attributes can be set on it, and on nothing foreign.
  mount_options with_propagation = options;
  if (with_propagation.propagation == 0) with_propagation.propagation = MS_PRIVATE;
  if (apply(fd.get(), with_propagation)) return fd;
  if (errno != EINVAL) return {};
  copy = clone_by_path(fd.get(), recursive);
  return copy && apply(copy.get(), options) ? std::move(copy) : unique_fd();
}

unique_fd detach(const std::string& path, const mount_options& options, bool recursive) {
  unique_fd copy(open_tree(AT_FDCWD, path.c_str(), clone_flags(recursive)));
  return copy && apply(copy.get(), options) ? std::move(copy) : unique_fd();
}

// crun's words.
tl::unexpected<error> cannot_mount(const mount_plan& what) {
  std::string_view target = what.target;
  while (target.starts_with('/')) target.remove_prefix(1);
  return fail_errno("mount `" + what.source + "` to `" + std::string(target) + '`');
}

result<void> open_bind(mount_plan& bind, create_spec& spec) {
  const auto given = std::ranges::find_if(
      spec.mount_sources, [&](const mount_source& s) { return s.tree && s.destination == bind.target; });
  if (given != spec.mount_sources.end())
    bind.tree = detach(std::move(given->tree), bind.options, bind.options.recursive);
  else
    bind.tree = detach(bind.source, bind.options, bind.options.recursive);
  struct stat info {};
  if (!bind.tree || fstat(bind.tree.get(), &info) != 0) return cannot_mount(bind);
  bind.folder = S_ISDIR(info.st_mode);
  return {};
}

// cgroup v1: a tmpfs with one folder a hierarchy, each the container's own part of it.
result<void> expand_cgroup(const mount_plan& what, const std::string& path, std::vector<mount_plan>& into) {
  mount_plan base;
  base.source = base.type = "tmpfs";
  base.target = what.target;
  base.options = what.options;
  base.options.data = "mode=755,size=1024k";
  into.push_back(std::move(base));
  for (const auto& hierarchy : hierarchies()) {
    mount_plan part;
    part.source = hierarchy.folder + path;
    part.target = what.target + '/' + hierarchy.name;
    part.options = what.options;
    part.options.bind = true;
    part.tree = detach(part.source, part.options, false);
    if (!part.tree) return cannot_mount(part);
    into.push_back(std::move(part));
  }
  return {};
}
}  // namespace

result<void> open_sources(container_plan& plan, create_spec& spec) {
  for (const auto& source : spec.mount_sources)
    if (std::ranges::none_of(plan.mounts, [&](const mount_plan& m) { return m.target == source.destination; }))
      return fail(errc::invalid_argument, "no mount at " + go_quote(source.destination) + " in the OCI spec");
  mount_options of_root;
  of_root.propagation = MS_PRIVATE;
  of_root.propagation_below = true;
  plan.root =
      spec.rootfs_tree ? detach(std::move(spec.rootfs_tree), of_root, true) : detach(spec.rootfs_path, of_root, true);
  if (!plan.root) return fail_errno("open the root file system");
  std::vector<mount_plan> all;
  for (auto& each : plan.mounts) {
    const bool has_source = std::ranges::any_of(
        spec.mount_sources, [&](const mount_source& s) { return s.tree && s.destination == each.target; });
    if (each.options.bind || has_source) {
      ARCA_CHECK(open_bind(each, spec));
    } else if (each.type == "cgroup" && !cgroup::unified()) {
      ARCA_CHECK(expand_cgroup(each, plan.cgroup_path, all));
      continue;
    } else if (each.type == "cgroup") {
      each.type = "cgroup2";
    }
    all.push_back(std::move(each));
  }
  plan.mounts = std::move(all);
  for (auto& joined : plan.joined) {
    if (joined.fd) continue;
    ARCA_TRY(fd, fs::open(joined.path, O_RDONLY));
    joined.fd = std::move(fd);
  }
  return {};
}

}  // namespace arca::guest::native
