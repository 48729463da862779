#include "actors/container/files.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "actors/volume/copy_up.hpp"
#include "persistence/base/failpoint.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/images/init_layer.hpp"
#include "persistence/images/overlay.hpp"
#include "vm/oci/rootfs.hpp"

namespace arca {
namespace {

/// What needs the image's files: made in the writable layer through a detached overlay.
result<void> prepare_rootfs(const std::vector<std::string>& layers, const std::vector<model::mount_plan>& plan,
                            const std::string& dir, const std::string& cwd) {
  images::overlay_spec spec;
  spec.lower = layers;
  spec.upper = dir + "/upper";
  spec.work = dir + "/work";
  ARCA_TRY(root, images::mount_overlay(spec));
  ARCA_CHECK(oci::make_working_dir(root.get(), cwd, 0, 0));  // root's, whoever the user is, as in Docker
  for (const auto& mount : plan) {
    if (mount.point.type != "volume" || !mount.copy_data || mount.from_container) continue;
    ARCA_TRY(volume, fs::open(mount.point.source, O_RDONLY | O_DIRECTORY));
    ARCA_CHECK(copy_up(root.get(), mount.point.destination, volume.get()));
  }
  return {};
}

}  // namespace

result<std::vector<std::string>> make_container_files(const model::container_record& record,
                                                      const std::vector<model::mount_plan>& plan,
                                                      const std::string& dir) {
  ARCA_TRY(layers, images::with_init_layer(record.layers));
  const std::string temporary = dir + ".new";
  ARCA_CHECK(fs::remove_tree(temporary));
  ARCA_CHECK(fs::make_dirs(temporary, 0711));
  ARCA_CHECK(images::make_container_layer(temporary));
  const auto cwd = record.config.value("WorkingDir", std::string());
  bool volumes = false;
  for (const auto& mount : plan) volumes = volumes || mount.point.type == "volume";
  if ((!cwd.empty() && cwd != "/") || volumes) {
    auto prepared = prepare_rootfs(layers, plan, temporary, cwd);
    if (!prepared) {
      // The caller hears why; what could not be removed is swept at the next start.
      if (auto removed = fs::remove_tree(temporary); !removed)
        return fail(prepared.error().wrap(removed.error().message()));
      return fail(prepared.error());
    }
  }
  failpoint::reached("before-container-folder");
  if (::rename(temporary.c_str(), dir.c_str()) != 0) return fail_errno("rename " + temporary);
  failpoint::reached("container-folder");
  return std::move(layers);
}

}  // namespace arca
