#include "vm/guest_image/guest_image.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include "guest/proto/version.hpp"
#include "vm/guest_image/installed.hpp"
#include "vm/guest_image/manifest.hpp"

namespace arca::vm {
namespace {

result<void> check_file(const std::string& path, const file_digest& wanted) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != wanted.size)
    return fail(errc::unavailable, path + " is damaged: run `arca setup`");
  return {};
}

result<void> check_setting(const char* name, const std::string& path) {
  if (path.empty() || ::access(path.c_str(), R_OK) == 0) return {};
  return fail(errc::not_found, std::string("there is no readable file ") + path + " (setting " + name + ")");
}

}  // namespace

std::string guests_folder(const std::string& data_root) {
  return data_root + "/guest";
}

result<guest_image> find_guest(const std::string& data_root) {
  const std::string version = current_version(data_root);
  if (version.empty()) return fail(errc::not_found, "no guest for virtual machines is installed: run `arca setup`");
  const std::string folder = guests_folder(data_root) + "/" + version;
  const auto found = read_manifest(folder);
  if (!found) return fail(errc::unavailable, "guest " + version + " is damaged: run `arca setup`");
  if (found->arca_version != ARCA_VERSION)
    return fail(errc::unavailable, "guest " + version + " was made by Arca " + found->arca_version + ", this is " +
                                       ARCA_VERSION + ": run `arca setup`");
  if (found->protocol_version != agent_protocol_version)
    return fail(errc::unavailable, "guest " + version + " was made by an Arca that speaks protocol " +
                                       std::to_string(found->protocol_version) + ", this one speaks " +
                                       std::to_string(agent_protocol_version) + ": run `arca setup`");
  guest_image out;
  out.version = version;
  out.kernel = folder + "/" + kernel_file;
  out.initrd = folder + "/" + initrd_file;
  out.kernel_release = found->kernel_release;
  out.agent_version = found->arca_version;
  out.agent_sha256 = found->agent.sha256;
  ARCA_CHECK(check_file(out.kernel, found->kernel));
  ARCA_CHECK(check_file(out.initrd, found->initrd));
  return out;
}

result<void> check_agent(const guest_image& guest, const std::string& agent_path) {
  if (guest.agent_sha256.empty()) return {};  // the settings' own initramfs
  ARCA_TRY(digest, digest_of_file(agent_path));
  if (digest.sha256 == guest.agent_sha256) return {};
  return fail(errc::unavailable,
              "guest " + guest.version + " was made with another agent than " + agent_path + ": run `arca setup`");
}

result<guest_image> find_guest(const settings& config) {
  ARCA_CHECK(check_setting("kernel-path", config.kernel_path));
  ARCA_CHECK(check_setting("initrd-path", config.initrd_path));
  guest_image out;
  if (config.kernel_path.empty() || config.initrd_path.empty()) {
    ARCA_TRY(found, find_guest(config.data_root));
    out = found;
  }
  if (!config.kernel_path.empty()) {
    out.kernel = config.kernel_path;
    out.kernel_release.clear();
  }
  if (!config.initrd_path.empty()) {
    out.initrd = config.initrd_path;
    out.agent_version.clear();
    out.agent_sha256.clear();
  }
  out.kernel_arguments = config.kernel_arguments;
  return out;
}

}  // namespace arca::vm
