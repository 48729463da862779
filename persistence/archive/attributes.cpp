#include "persistence/archive/attributes.hpp"

#include <archive.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "persistence/archive/syscalls.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::archive {
namespace {

constexpr la_int64_t max_id = 0xfffffffe;  // 2^32-1 means "leave it" to chown(2)

/// A time before 1970, or more than 2^63-1 ns behind it, is 1970: Docker does so.
timespec stamp(time_t seconds, long nanoseconds) {
  if (nanoseconds < 0 || nanoseconds > 999'999'999) nanoseconds = 0;
  constexpr time_t last = 9'223'372'036;
  if (seconds < 0 || seconds > last || (seconds == last && nanoseconds > 854'775'807)) return {0, 0};
  return {seconds, nanoseconds};
}

}  // namespace

result<attributes> attributes_of(archive_entry* entry, const extract_options& options) {
  attributes out;
  if (options.chown_to) {
    out.uid = options.chown_to->uid;
    out.gid = options.chown_to->gid;
  } else {
    const la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
    if (uid < 0 || uid > max_id || gid < 0 || gid > max_id)
      return fail(bad_archive,
                  "archive: owner " + std::to_string(uid) + ":" + std::to_string(gid) + " is out of range");
    out.uid = static_cast<uid_t>(uid);
    out.gid = static_cast<gid_t>(gid);
  }
  out.mode = archive_entry_perm(entry) & 07777;
  const timespec modified = stamp(archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
  timespec accessed = modified;
  if (archive_entry_atime_is_set(entry) != 0) {
    const timespec a = stamp(archive_entry_atime(entry), archive_entry_atime_nsec(entry));
    if (a.tv_sec > modified.tv_sec) accessed = a;
  }
  out.when = {accessed, modified};
  return out;
}

bool is_overlay_attribute(std::string_view name) noexcept {
  return starts_with(name, "trusted.overlay.") || starts_with(name, "user.overlay.");
}

result<void> set_xattrs(archive_entry* entry, const std::string& path, const extract_options& options,
                        uint64_t& dropped, bool& acl) {
  if (archive_entry_xattr_reset(entry) == 0) return {};
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  uint64_t total = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK && name != nullptr) {
    const std::string_view key = name;
    total += key.size() + size;
    if (total > options.limits.max_metadata)
      return fail(bad_archive, "archive: too many bytes of extended attributes on one entry");
    if (is_overlay_attribute(key)) {
      ++dropped;
      continue;
    }
    if (::lsetxattr(path.c_str(), name, value, size, 0) != 0) {
      const int number = errno;
      // The archive's own security labels (SELinux, IMA) mean nothing on another host; capabilities and users' do.
      const bool needed = key == "security.capability" || starts_with(key, "user.");
      const bool refused = number == ENOTSUP || number == EPERM;
      if (refused && (!needed || options.best_effort_xattrs)) continue;
      if (!needed && number == EINVAL) continue;
      return fail(errno_error("lsetxattr " + std::string(key), number));
    }
    acl = acl || key == "system.posix_acl_default";
  }
  return {};
}

result<void> mark_opaque(int folder, const extract_options& options) {
  if (::fsetxattr(folder, "trusted.overlay.opaque", "y", 1, 0) == 0) return {};
  if (options.best_effort_xattrs && (errno == ENOTSUP || errno == EPERM)) return {};
  return fail_errno("set trusted.overlay.opaque");
}

mode_t current_umask() {
  const auto status = fs::read_file("/proc/thread-self/status", 1u << 16);
  if (!status) return 0777;
  const size_t at = status->find("\nUmask:");
  if (at == std::string::npos) return 0777;
  return static_cast<mode_t>(std::strtoul(status->c_str() + at + 7, nullptr, 8)) & 0777;
}

}  // namespace arca::archive
