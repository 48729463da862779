#include "persistence/archive/packer.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <vector>

#include "persistence/archive/attributes.hpp"
#include "persistence/archive/entry_writer.hpp"
#include "persistence/archive/names.hpp"
#include "persistence/archive/syscalls.hpp"
#include "persistence/base/text.hpp"

namespace arca::archive {
namespace {

constexpr size_t open_levels = 24;
constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

struct level {
  unique_fd fd;        // closed when many levels are open
  std::string path;    // below the root
  std::string prefix;  // name in the archive, with "/" at the end; "" for bare names
  std::vector<std::string> names;
  size_t next = 0;
};

struct close_dir {
  void operator()(DIR* d) const { ::closedir(d); }
};

result<std::vector<std::string>> list(int folder) {
  unique_fd copy(::openat(folder, ".", folder_flags));
  if (!copy) return fail_errno("open folder");
  const std::unique_ptr<DIR, close_dir> dir(::fdopendir(copy.get()));
  if (!dir) return fail_errno("list folder");
  copy.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return fail_errno("list folder");
  std::sort(names.begin(), names.end());
  return names;
}

class packing {
 public:
  packing(int root, const pack_options& options, const byte_sink& sink)
      : root_(root), options_(options), writer_(sink), buffer_(256u << 10, '\0') {}

  result<pack_result> run() {
    std::string_view path = options_.path;
    const bool follow = ends_with(path, "/") || ends_with(path, "/.") || path.empty() || path == ".";
    ARCA_TRY(parts, split_name(path, 2048));
    if (follow || parts.empty()) {
      const std::string target = join(parts);
      unique_fd fd = open_in_root(root_, target, O_RDONLY | O_DIRECTORY);
      if (!fd) return fail_errno("open " + go_quote("/" + target));
      ARCA_CHECK(top_folder(std::move(fd), target));
    } else {
      const std::string name(parts.back());
      parts.pop_back();
      const std::string folder = join(parts);
      const unique_fd parent = open_in_root(root_, folder, O_RDONLY | O_DIRECTORY);
      if (!parent) return fail_errno("open " + go_quote("/" + folder));
      struct stat st {};
      if (::fstatat(parent.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno("lstat /" + join(parts) + "/" + name);
      if (S_ISDIR(st.st_mode)) {
        unique_fd fd(::openat(parent.get(), name.c_str(), folder_flags));
        if (!fd) return fail_errno("open " + go_quote("/" + name));
        ARCA_CHECK(top_folder(std::move(fd), folder.empty() ? name : folder + "/" + name));
      } else {
        if (options_.name.empty()) return fail(errc::invalid_argument, go_quote("/" + name) + " is not a directory");
        ARCA_CHECK(entry(parent.get(), name, options_.name, st));
      }
    }
    ARCA_CHECK(walk());
    ARCA_CHECK(writer_.finish());
    return out_;
  }

 private:
  result<void> top_folder(unique_fd fd, std::string path) {
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) return fail_errno("stat folder");
    device_ = st.st_dev;
    if (!options_.name.empty()) ARCA_CHECK(folder_header(fd.get(), options_.name, st));
    return descend(std::move(fd), std::move(path), options_.name.empty() ? "" : options_.name + "/");
  }

  result<void> descend(unique_fd fd, std::string path, std::string prefix) {
    ARCA_TRY(names, list(fd.get()));
    levels_.push_back({std::move(fd), std::move(path), std::move(prefix), std::move(names)});
    if (levels_.size() > open_levels) levels_[levels_.size() - open_levels - 1].fd.reset();
    return {};
  }

  result<void> walk() {
    while (!levels_.empty()) {
      auto& here = levels_.back();
      if (here.next == here.names.size()) {
        levels_.pop_back();
        continue;
      }
      const std::string name = here.names[here.next++];
      if (!here.fd) {
        here.fd = open_in_root(root_, here.path, folder_flags);
        if (!here.fd) return fail_errno("open " + here.path);
      }
      const std::string shown = here.prefix + name;
      if (options_.exclude && options_.exclude(shown)) continue;
      struct stat st {};
      if (::fstatat(here.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;  // it went meanwhile
        return fail_errno("lstat " + shown);
      }
      if (!S_ISDIR(st.st_mode)) {
        ARCA_CHECK(entry(here.fd.get(), name, shown, st));
        continue;
      }
      if (!options_.cross_mounts && st.st_dev != device_) continue;
      unique_fd fd(::openat(here.fd.get(), name.c_str(), folder_flags));
      if (!fd) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) continue;
        return fail_errno("open " + shown);
      }
      ARCA_CHECK(folder_header(fd.get(), shown, st));
      ARCA_CHECK(descend(std::move(fd), here.path.empty() ? name : here.path + "/" + name, shown + "/"));
    }
    return {};
  }

  archive_entry* start(const std::string& name, const struct stat& st) {
    archive_entry* e = writer_.fresh();
    archive_entry_copy_pathname(e, name.c_str());
    archive_entry_set_mode(e, static_cast<__LA_MODE_T>(st.st_mode));
    archive_entry_set_uid(e, st.st_uid);
    archive_entry_set_gid(e, st.st_gid);
    archive_entry_set_mtime(e, st.st_mtim.tv_sec, 0);  // whole seconds, as Docker's archives have
    archive_entry_set_size(e, 0);
    return e;
  }

  void add_xattrs(archive_entry* e, int fd) {
    if (!options_.xattrs) return;
    const ssize_t size = ::flistxattr(fd, buffer_.data(), buffer_.size());
    if (size <= 0) return;
    const std::string names(buffer_.data(), static_cast<size_t>(size));
    for (size_t at = 0; at < names.size(); at += std::string_view(names.c_str() + at).size() + 1) {
      const char* name = names.c_str() + at;
      const std::string_view key = name;
      if (key != "security.capability" && !(starts_with(key, "user.") && !is_overlay_attribute(key))) continue;
      const ssize_t n = ::fgetxattr(fd, name, buffer_.data(), buffer_.size());
      if (n >= 0) archive_entry_xattr_add_entry(e, name, buffer_.data(), static_cast<size_t>(n));
    }
  }

  result<void> folder_header(int fd, const std::string& name, const struct stat& st) {
    archive_entry* e = start(name, st);
    add_xattrs(e, fd);
    ARCA_CHECK(put());
    if (!options_.overlay_to_oci) return {};
    char mark = 0;
    if (::fgetxattr(fd, "trusted.overlay.opaque", &mark, 1) != 1 || mark != 'y') return {};
    e = start(name + "/.wh..wh..opq", st);
    archive_entry_set_filetype(e, AE_IFREG);
    return put();
  }

  result<void> put() {
    ++out_.entries;
    return writer_.header();
  }

  result<void> entry(int parent, const std::string& name, const std::string& shown, const struct stat& st) {
    if (S_ISSOCK(st.st_mode)) return {};
    if (options_.overlay_to_oci && S_ISCHR(st.st_mode) && st.st_rdev == 0) {
      const size_t slash = shown.rfind('/');
      const size_t at = slash == std::string::npos ? 0 : slash + 1;
      archive_entry* e = start(shown.substr(0, at) + ".wh." + shown.substr(at), st);
      archive_entry_set_mode(e, AE_IFREG | 0600);
      return put();
    }
    if (st.st_nlink > 1) {
      const auto [first, fresh] = links_.try_emplace({st.st_dev, st.st_ino}, shown);
      if (!fresh) {
        archive_entry* e = start(shown, st);
        archive_entry_copy_hardlink(e, first->second.c_str());
        return put();
      }
    }
    if (S_ISREG(st.st_mode)) return file(parent, name, shown, st);
    archive_entry* e = start(shown, st);
    if (S_ISLNK(st.st_mode)) {
      const ssize_t n = ::readlinkat(parent, name.c_str(), buffer_.data(), buffer_.size());
      if (n < 0) {
        if (errno == ENOENT || errno == EINVAL) return {};
        return fail_errno("readlink " + shown);
      }
      archive_entry_copy_symlink(e, std::string(buffer_.data(), static_cast<size_t>(n)).c_str());
    } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
      archive_entry_set_rdevmajor(e, major(st.st_rdev));
      archive_entry_set_rdevminor(e, minor(st.st_rdev));
    }
    return put();
  }

  result<void> file(int parent, const std::string& name, const std::string& shown, const struct stat& seen) {
    // The name may be another thing by now: never block on a fifo, never follow, believe only fstat.
    const unique_fd fd(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) {
      if (errno == ENOENT || errno == ELOOP || errno == ENXIO) return {};
      return fail_errno("open " + shown);
    }
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) return fail_errno("stat " + shown);
    if (!S_ISREG(st.st_mode) || st.st_ino != seen.st_ino) return {};
    archive_entry* e = start(shown, st);
    archive_entry_set_size(e, st.st_size);
    add_xattrs(e, fd.get());
    ARCA_CHECK(put());
    uint64_t left = static_cast<uint64_t>(st.st_size);
    out_.content += left;
    while (left > 0) {
      const size_t want = std::min<uint64_t>(left, buffer_.size());
      ssize_t n = ::read(fd.get(), buffer_.data(), want);
      if (n < 0) {
        if (errno == EINTR) continue;
        return fail_errno("read " + shown);
      }
      if (n == 0) {  // it shrank: the header is out, so zeros it is
        std::fill(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(want), '\0');
        n = static_cast<ssize_t>(want);
      }
      ARCA_CHECK(writer_.data(std::string_view(buffer_.data(), static_cast<size_t>(n))));
      left -= static_cast<uint64_t>(n);
    }
    return {};
  }

  const int root_;
  const pack_options& options_;
  entry_writer writer_;
  std::string buffer_;
  dev_t device_ = 0;
  std::vector<level> levels_;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  pack_result out_;
};

}  // namespace

result<pack_result> pack(int root, const pack_options& options, const byte_sink& sink) {
  packing run(root, options, sink);
  return run.run();
}

}  // namespace arca::archive
