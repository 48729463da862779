#include "persistence/archive/extractor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "persistence/archive/attributes.hpp"
#include "persistence/archive/content_writer.hpp"
#include "persistence/archive/entry_reader.hpp"
#include "persistence/archive/folder_stack.hpp"
#include "persistence/archive/names.hpp"
#include "persistence/archive/removal.hpp"
#include "persistence/archive/syscalls.hpp"
#include "persistence/base/text.hpp"

namespace arca::archive {
namespace {

constexpr std::string_view whiteout_prefix = ".wh.", whiteout_meta = ".wh..wh.", opaque_marker = ".wh..wh..opq";

bool is_whiteout(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

/// Where one entry goes.
struct place {
  folder_stack::folder parent;
  std::string name;
  std::string path;   // below the root, links resolved
  std::string shown;  // as the archive has it
};

class extraction {
 public:
  extraction(int root, unique_fd start, std::string start_path, const byte_source& source,
             const extract_options& options)
      : root_(root),
        options_(options),
        reader_(source),
        start_path_(start_path),
        folders_(root, std::move(start), std::move(start_path)),
        umask_(current_umask()),
        uid_(::geteuid()),
        gid_(::getegid()) {
    if (layer())
      folders_.replace_whiteout = [this](int parent, const std::string& name) {
        return folder_over_whiteout(parent, name);
      };
  }

  result<extract_result> run() {
    for (;;) {
      ARCA_TRY(entry, reader_.next());
      if (entry == nullptr) break;
      if (++out_.entries > options_.limits.max_entries)
        return fail(bad_archive, "archive: more than " + std::to_string(options_.limits.max_entries) + " entries");
      const c_locale_scope locale;
      ARCA_CHECK(add(entry));
    }
    folders_.leave_all();
    ARCA_CHECK(reader_.drain());
    return out_;
  }

 private:
  bool layer() const { return options_.mode == extract_mode::layer; }

  result<void> add(archive_entry* entry) {
    ARCA_TRY(parts, split_name(path_of(entry), options_.limits.max_depth));
    const bool is_folder = archive_entry_hardlink(entry) == nullptr && archive_entry_filetype(entry) == AE_IFDIR;
    if (parts.empty()) {
      // Docker leaves the root as it is, too.
      if (is_folder) return {};
      return fail(bad_archive, "archive: an entry that is no folder has the name of the root");
    }
    const std::string_view base = parts.back();
    if (layer()) {
      const bool opaque = base == opaque_marker;
      for (size_t i = 0; i < parts.size(); ++i)
        // Left-overs of AUFS, with all below them.
        if (starts_with(parts[i], whiteout_meta) && !(opaque && i + 1 == parts.size())) return {};
    }
    const std::string shown = join(parts);
    parts.pop_back();
    ARCA_TRY(parent, folders_.enter(parts));
    if (layer() && base == opaque_marker) return mark_opaque(parent.fd, options_);
    if (layer() && starts_with(base, whiteout_prefix)) return whiteout(parent, base.substr(whiteout_prefix.size()));

    place at{parent, std::string(base), std::string(parent.path), shown};
    if (!at.path.empty()) at.path += '/';
    at.path += base;
    ARCA_TRY(attrs, attributes_of(entry, options_));
    if (const char* target = archive_entry_hardlink(entry)) {
      ARCA_CHECK(hard_link(at, target));
      return attributes_of_link(entry, at, attrs);
    }
    switch (archive_entry_filetype(entry)) {
      case AE_IFDIR:
        return folder(entry, at, attrs);
      case AE_IFREG:
        return file(entry, at, attrs);
      case AE_IFLNK:
        return symlink(entry, at, attrs);
      case AE_IFCHR:
      case AE_IFBLK:
      case AE_IFIFO:
        return node(entry, at, attrs);
      default:
        return fail(bad_archive, "unhandled tar header type of " + go_quote(at.path));
    }
  }

  // ---- what is in the way

  /// Makes room for an entry that is no folder (or for a folder where something else is).
  result<void> replace(const place& at, bool by_folder) {
    struct stat st {};
    if (::fstatat(at.parent.fd, at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return {};
      return fail_errno("stat " + at.path);
    }
    if (options_.no_overwrite_dir_non_dir && S_ISDIR(st.st_mode) != by_folder)
      return fail(bad_archive, (by_folder ? "cannot overwrite non-directory " : "cannot overwrite directory ") +
                                   go_quote(at.shown) + (by_folder ? " with directory " : " with non-directory ") +
                                   go_quote("/" + start_path_));
    target_folder_.reset();
    return remove_below(at.parent.fd, at.name, at.path,
                        [this](int parent, const std::string& name, std::string_view path, const struct stat& gone) {
                          return forget(parent, name, path, gone);
                        });
  }

  result<void> forget(int parent, const std::string& name, std::string_view path, const struct stat& gone) {
    if (!layer()) return {};
    if (gone.st_nlink == 1 && (S_ISREG(gone.st_mode) || S_ISLNK(gone.st_mode)))
      out_.size -= static_cast<uint64_t>(gone.st_size);
    if (S_ISREG(gone.st_mode) && options_.observer.on_replaced)
      return options_.observer.on_replaced(parent, name, path);
    return {};
  }

  template <class Make>
  result<void> make(const place& at, std::string_view what, Make maker) {
    for (int attempt = 0; attempt < 8; ++attempt) {
      if (maker() == 0) return {};
      if (errno != EEXIST) return fail_errno(std::string(what) + " " + at.path);
      ARCA_CHECK(replace(at, false));
    }
    return fail(errc::internal, std::string(what) + " " + at.path + ": it keeps coming back");
  }

  result<bool> folder_over_whiteout(int parent, const std::string& name) {
    if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("remove whiteout " + name);
    if (::mkdirat(parent, name.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno("mkdir " + name);
    const unique_fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno("open " + name);
    ARCA_CHECK(mark_opaque(fd.get(), options_));
    return true;
  }

  // ---- kinds of entries

  /// A whiteout hides lower layers' entry; what this layer itself has under the name stays (OCI image spec).
  result<void> whiteout(const folder_stack::folder& parent, std::string_view hidden) {
    if (hidden.empty() || hidden == "." || hidden == "..")
      return fail(bad_archive, "archive: whiteout of " + go_quote(hidden));
    const std::string name(hidden);
    if (::mknodat(parent.fd, name.c_str(), S_IFCHR, 0) == 0) return {};
    if (errno != EEXIST) return fail_errno("mknod " + name);
    const unique_fd existing(::openat(parent.fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (existing) return mark_opaque(existing.get(), options_);
    return {};
  }

  result<void> folder(archive_entry* entry, const place& at, const attributes& attrs) {
    bool fresh = true;
    if (::mkdirat(at.parent.fd, at.name.c_str(), attrs.mode & 0777) != 0) {
      if (errno != EEXIST) return fail_errno("mkdir " + at.path);
      struct stat st {};
      if (::fstatat(at.parent.fd, at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("stat " + at.path);
      if (layer() && is_whiteout(st)) {
        ARCA_TRY(made, folder_over_whiteout(at.parent.fd, at.name));
        static_cast<void>(made);
      } else if (!S_ISDIR(st.st_mode)) {
        ARCA_CHECK(replace(at, true));
        if (::mkdirat(at.parent.fd, at.name.c_str(), attrs.mode & 0777) != 0) return fail_errno("mkdir " + at.path);
      }
      fresh = false;  // whatever it was: set everything
    }
    const bool parent_setgid = at.parent.setgid;
    ARCA_TRY(self, folders_.enter_child(at.name));
    if (!fresh || attrs.uid != uid_ || attrs.gid != gid_ || parent_setgid)
      if (::fchown(self.fd, attrs.uid, attrs.gid) != 0) return fail_errno("chown " + at.path);
    if (!fresh || must_chmod(attrs.mode) || parent_setgid)
      if (::fchmod(self.fd, attrs.mode) != 0) return fail_errno("chmod " + at.path);
    folders_.mode_changed(attrs.mode);
    if (archive_entry_xattr_count(entry) > 0)
      ARCA_CHECK(set_xattrs(entry, proc_path(self.fd) + "/.", options_, out_.dropped, acl_));
    folders_.set_times(std::string(self.path), attrs.when);
    return {};
  }

  result<void> file(archive_entry* entry, const place& at, const attributes& attrs) {
    unique_fd fd;
    ARCA_CHECK(make(at, "create", [&] {
      fd.reset(::openat(at.parent.fd, at.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        attrs.mode & 0777));
      return fd ? 0 : -1;
    }));
    ARCA_TRY(size, content(entry, at, fd.get()));
    out_.size += size;
    if (attrs.uid != uid_ || attrs.gid != gid_ || at.parent.setgid)
      if (::fchown(fd.get(), attrs.uid, attrs.gid) != 0) return fail_errno("chown " + at.path);
    if (must_chmod(attrs.mode))
      if (::fchmod(fd.get(), attrs.mode) != 0) return fail_errno("chmod " + at.path);
    if (archive_entry_xattr_count(entry) > 0)
      ARCA_CHECK(set_xattrs(entry, proc_path(at.parent.fd) + "/" + at.name, options_, out_.dropped, acl_));
    if (::futimens(fd.get(), attrs.when.data()) != 0) return fail_errno("set times of " + at.path);
    return {};
  }

  result<uint64_t> content(archive_entry* entry, const place& at, int fd) {
    const auto size = static_cast<uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0));
    content_writer writer(fd);
    for (;;) {
      ARCA_TRY(block, reader_.read());
      if (block.end) break;
      if (block.data.empty()) continue;
      if (block.offset > size || block.data.size() > size - block.offset)
        return fail(bad_archive, "archive/tar: invalid tar header");
      out_.content += block.data.size();
      if (out_.content > options_.limits.max_bytes)
        return fail(bad_archive, "archive: more than " + std::to_string(options_.limits.max_bytes) + " bytes of files");
      if (options_.observer.on_payload)
        ARCA_CHECK(options_.observer.on_payload(
            {at.path, out_.entries, block.offset, block.stream_offset, block.data.size()}));
      if (auto done = writer.write(block.offset, block.data); !done) return fail(done.error().wrap(at.path));
    }
    if (auto done = writer.finish(size); !done) return fail(done.error().wrap(at.path));
    return size;
  }

  result<void> symlink(archive_entry* entry, const place& at, const attributes& attrs) {
    const char* target = archive_entry_symlink(entry);
    if (target == nullptr || *target == '\0')
      return fail(bad_archive, "archive: symbolic link " + go_quote(at.path) + " without a target");
    ARCA_CHECK(make(at, "symlink", [&] { return ::symlinkat(target, at.parent.fd, at.name.c_str()); }));
    out_.size += std::string_view(target).size();
    return finish_by_name(entry, at, attrs, false);
  }

  result<void> node(archive_entry* entry, const place& at, const attributes& attrs) {
    const auto type = static_cast<mode_t>(archive_entry_filetype(entry));
    dev_t device = 0;
    if (type != AE_IFIFO)
      device = ::makedev(static_cast<unsigned>(archive_entry_rdevmajor(entry)),
                         static_cast<unsigned>(archive_entry_rdevminor(entry)));
    if (layer() && type == AE_IFCHR && device == 0) {
      ++out_.dropped;  // a forged whiteout
      return {};
    }
    const mode_t kind = type == AE_IFIFO ? S_IFIFO : type == AE_IFCHR ? S_IFCHR : S_IFBLK;
    ARCA_CHECK(make(at, "mknod",
                    [&] { return ::mknodat(at.parent.fd, at.name.c_str(), kind | (attrs.mode & 0777), device); }));
    return finish_by_name(entry, at, attrs, true);
  }

  /// Attributes of what has no descriptor of its own; the last component is never followed.
  result<void> finish_by_name(archive_entry* entry, const place& at, const attributes& attrs, bool chmod) {
    if (attrs.uid != uid_ || attrs.gid != gid_ || at.parent.setgid)
      if (::fchownat(at.parent.fd, at.name.c_str(), attrs.uid, attrs.gid, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno("chown " + at.path);
    if (chmod && must_chmod(attrs.mode)) {
      const unique_fd fd(::openat(at.parent.fd, at.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!fd || ::chmod(proc_path(fd.get()).c_str(), attrs.mode) != 0) return fail_errno("chmod " + at.path);
    }
    if (archive_entry_xattr_count(entry) > 0)
      ARCA_CHECK(set_xattrs(entry, proc_path(at.parent.fd) + "/" + at.name, options_, out_.dropped, acl_));
    if (::utimensat(at.parent.fd, at.name.c_str(), attrs.when.data(), AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno("set times of " + at.path);
    return {};
  }

  result<void> hard_link(const place& at, const char* target) {
    // Relative to the archive's root, as Docker does: "link" can name nothing that the archive could not name itself.
    ARCA_TRY(parts, split_name(target, options_.limits.max_depth));
    if (parts.empty()) return fail(bad_archive, "invalid hardlink " + go_quote(at.path) + " -> " + go_quote(target));
    const std::string name(parts.back());
    parts.pop_back();
    std::string folder = start_path_;
    if (!parts.empty()) folder += (folder.empty() ? "" : "/") + join(parts);
    for (int attempt = 0; attempt < 8; ++attempt) {
      if (!target_folder_ || folder != target_path_) {
        target_folder_ = open_in_root(root_, folder, O_PATH | O_DIRECTORY);
        if (!target_folder_) return fail_errno("link " + at.path + " to " + target);
        target_path_ = folder;
      }
      if (::linkat(target_folder_.get(), name.c_str(), at.parent.fd, at.name.c_str(), 0) == 0) return {};
      if (errno != EEXIST) return fail_errno("link " + at.path + " to " + target);
      struct stat a {
      }, b{};
      if (::fstatat(target_folder_.get(), name.c_str(), &a, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno("link " + at.path + " to " + target);
      if (::fstatat(at.parent.fd, at.name.c_str(), &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
          a.st_ino == b.st_ino)
        return {};  // it is that link already
      ARCA_CHECK(replace(at, false));
    }
    return fail(errc::internal, "link " + at.path + ": it keeps coming back");
  }

  /// The header of a further name counts for the file, too; nearly always it says the same again.
  result<void> attributes_of_link(archive_entry* entry, const place& at, const attributes& attrs) {
    struct stat st {};
    if (::fstatat(at.parent.fd, at.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("stat " + at.path);
    const bool moved = st.st_uid != attrs.uid || st.st_gid != attrs.gid;
    if (moved && ::fchownat(at.parent.fd, at.name.c_str(), attrs.uid, attrs.gid, AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno("chown " + at.path);
    if (archive_entry_xattr_count(entry) > 0)
      ARCA_CHECK(set_xattrs(entry, proc_path(at.parent.fd) + "/" + at.name, options_, out_.dropped, acl_));
    if (S_ISLNK(st.st_mode)) return {};
    if (moved || (st.st_mode & 07777) != attrs.mode) {
      const unique_fd fd(::openat(at.parent.fd, at.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!fd || ::chmod(proc_path(fd.get()).c_str(), attrs.mode) != 0) return fail_errno("chmod " + at.path);
    }
    const auto& when = attrs.when[1];
    if (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec == when.tv_nsec) return {};
    if (::utimensat(at.parent.fd, at.name.c_str(), attrs.when.data(), AT_SYMLINK_NOFOLLOW) != 0)
      return fail_errno("set times of " + at.path);
    return {};
  }

  bool must_chmod(mode_t mode) const { return !layer() || acl_ || (mode & (umask_ | 07000)) != 0; }

  const int root_;
  const extract_options& options_;
  entry_reader reader_;
  const std::string start_path_;
  folder_stack folders_;
  const mode_t umask_;
  const uid_t uid_;
  const gid_t gid_;
  bool acl_ = false;  // a default ACL was set somewhere: modes given to open(2) are not what comes out
  unique_fd target_folder_;
  std::string target_path_;
  extract_result out_;
};

}  // namespace

result<extract_result> extract(int root, const byte_source& source, const extract_options& options) {
  std::string start_path;
  if (!options.destination.empty()) {
    ARCA_TRY(parts, split_name(options.destination, options.limits.max_depth));
    start_path = join(parts);
  }
  unique_fd start = open_in_root(root, start_path, O_RDONLY | O_DIRECTORY);
  if (!start) return fail_errno("open " + go_quote("/" + start_path));
  extraction run(root, std::move(start), start_path, source, options);
  return run.run();
}

}  // namespace arca::archive
