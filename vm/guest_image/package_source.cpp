#include "vm/guest_image/package_source.hpp"

#include <filesystem>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/guest_image/apt.hpp"
#include "vm/guest_image/files.hpp"

namespace arca::vm {
namespace {
/// "linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64."; the checksum and ".deb" follow.
std::string kept_prefix(const package_id& id) {
  return id.name + "_" + id.version + "_" + id.architecture + ".";
}
}  // namespace

package_source::package_source(const std::string& folder, std::string given)
    : folder_(folder + "/packages"), given_(std::move(given)) {}

result<package_id> package_source::identify() const {
  return given_.empty() ? apt::cloud_kernel() : identify_package(given_);
}

std::string package_source::kept(const package_id& id) const {
  const auto names = fs::list(folder_);
  if (!names) return {};
  const std::string prefix = kept_prefix(id);
  for (const auto& name : *names) {
    if (!starts_with(name, prefix)) continue;
    const std::string path = folder_ + "/" + name;
    if (const auto digest = digest_of_file(path); digest && name == prefix + digest->sha256 + ".deb") return path;
  }
  return {};
}

result<std::string> package_source::fetch(const package_id& id, const std::string& work) const {
  if (!given_.empty()) return given_;
  const std::string here = kept(id);
  const auto record = apt::look_up(id);
  if (!record) {  // the lists are gone: what was checked against them once is as good
    if (!here.empty()) return here;
    return fail(errc::unavailable, record.error().message());
  }
  if (!here.empty() && ends_with(here, kept_prefix(id) + record->sha256 + ".deb")) return here;
  ARCA_CHECK(fs::make_dirs(work, 0755));
  return apt::download(*record, work);
}

result<void> package_source::keep(const package_id& id, const std::string& file, const std::string& sha256) const {
  ARCA_CHECK(fs::make_dirs(folder_, 0755));
  const std::string name = kept_prefix(id) + sha256 + ".deb";
  const std::string path = folder_ + "/" + name;
  std::error_code failed;
  if (std::error_code absent; !std::filesystem::equivalent(file, path, absent)) {
    if (given_.empty())
      std::filesystem::rename(file, path, failed);
    else
      std::filesystem::copy_file(file, path, std::filesystem::copy_options::overwrite_existing, failed);
    if (failed) return fail(errc::internal, "keep " + path + ": " + failed.message());
  }
  ARCA_TRY(names, fs::list(folder_));
  for (const auto& other : names)
    if (other != name) ARCA_CHECK(fs::remove_tree(folder_ + "/" + other));
  return {};
}

}  // namespace arca::vm
