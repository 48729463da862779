// Owner, mode, times and extended attributes of one archive entry: what is believed of them, and how they are set.
#pragma once
#include <archive_entry.h>
#include <sys/types.h>

#include <string>

#include "persistence/archive/extractor.hpp"
#include "persistence/archive/folder_stack.hpp"

namespace arca::archive {

struct attributes {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0;  ///< 07777
  times when{};
};
/// bad_archive for owners that Linux cannot store (negative, or beyond 2^32-2).
result<attributes> attributes_of(archive_entry* entry, const extract_options& options);

/// What overlayfs reads as its own, and what would let a layer hide or redirect other layers' files.
bool is_overlay_attribute(std::string_view name) noexcept;

/// Sets the entry's extended attributes on `path` (a /proc/self/fd path, the last component is not followed). Overlay's
/// are left out and counted. Sets `acl` when a default ACL was among them.
result<void> set_xattrs(archive_entry* entry, const std::string& path, const extract_options& options,
                        uint64_t& dropped, bool& acl);

/// trusted.overlay.opaque=y: lower layers' content of this folder is hidden.
result<void> mark_opaque(int folder, const extract_options& options);

/// The umask of the calling thread, read without changing it; 0777 when unknown.
mode_t current_umask();

}  // namespace arca::archive
