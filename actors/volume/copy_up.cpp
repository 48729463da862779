#include "actors/volume/copy_up.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "persistence/archive/syscalls.hpp"
#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca {
namespace {
using archive::proc_path;

constexpr int depth_limit = 400;          // two descriptors are open for each level
constexpr size_t xattr_limit = 1u << 20;  // bytes of all attributes of one file
constexpr size_t block_size = 1u << 17;

struct close_dir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using dir_ptr = std::unique_ptr<DIR, close_dir>;

/// A reader of an open folder that leaves `fd` usable.
result<dir_ptr> read_dir(int fd) {
  unique_fd own(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own) return fail_errno("copy into the volume: open folder");
  dir_ptr dir(::fdopendir(own.get()));
  if (!dir) return fail_errno("copy into the volume: read folder");
  (void)own.release();
  return dir;
}

result<std::vector<std::string>> names_in(int fd) {
  ARCA_TRY(dir, read_dir(fd));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get()))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      names.emplace_back(entry->d_name);
  if (errno != 0) return fail_errno("copy into the volume: read folder");
  return names;
}

class tree_copy {
 public:
  explicit tree_copy(int volume) : volume_(volume) {}

  result<void> folder(int from, int to, const std::string& path, int depth) {
    if (depth > depth_limit)
      return fail(errc::internal, "copy into the volume: folders are nested too deeply at " + path);
    ARCA_TRY(names, names_in(from));
    for (const auto& name : names) {
      if (auto done = entry(from, to, name, path.empty() ? name : path + '/' + name, depth); !done)
        return fail(done.error());
    }
    return {};
  }

  /// Owner, mode, attributes and times, in the order in which the kernel keeps them. The paths lead to the file itself.
  static result<void> metadata(const std::string& from, const std::string& to, const struct stat& st,
                               const std::string& shown) {
    if (::lchown(to.c_str(), st.st_uid, st.st_gid) != 0) return fail_errno("chown " + shown);
    if (!S_ISLNK(st.st_mode) && ::chmod(to.c_str(), st.st_mode & 07777) != 0) return fail_errno("chmod " + shown);
    ARCA_CHECK(xattrs(from, to, shown));
    const timespec times[2] = {st.st_atim, st.st_mtim};
    if (::utimensat(AT_FDCWD, to.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("set times of " + shown);
    return {};
  }

 private:
  result<void> entry(int from, int to, const std::string& name, const std::string& path, int depth) {
    struct stat st {};
    if (::fstatat(from, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("stat " + path);
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      const auto [first, fresh] = linked_.try_emplace({st.st_dev, st.st_ino}, path);
      if (!fresh) {
        if (::linkat(volume_, first->second.c_str(), to, name.c_str(), 0) != 0) return fail_errno("link " + path);
        return {};
      }
    }
    if (S_ISDIR(st.st_mode)) {
      if (::mkdirat(to, name.c_str(), 0700) != 0) return fail_errno("mkdir " + path);
      const unique_fd inner(::openat(from, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      const unique_fd made(::openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!inner || !made) return fail_errno("open " + path);
      ARCA_CHECK(folder(inner.get(), made.get(), path, depth + 1));
    } else if (S_ISREG(st.st_mode)) {
      ARCA_CHECK(file(from, to, name, path));
    } else if (S_ISLNK(st.st_mode)) {
      ARCA_CHECK(link(from, to, name, path, static_cast<size_t>(st.st_size)));
    } else if (::mknodat(to, name.c_str(), st.st_mode, st.st_rdev) != 0) {
      return fail_errno("mknod " + path);
    }
    return metadata(proc_path(from) + '/' + name, proc_path(to) + '/' + name, st, path);
  }

  result<void> file(int from, int to, const std::string& name, const std::string& path) {
    const unique_fd in(::openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    const unique_fd out(::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!in || !out) return fail_errno("open " + path);
    const off_t end = ::lseek(in.get(), 0, SEEK_END);
    if (end < 0 || ::ftruncate(out.get(), end) != 0) return fail_errno("write " + path);
    for (off_t at = 0; at < end;) {
      const off_t data = ::lseek(in.get(), at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;  // only a hole is left
      const off_t hole = data < 0 ? end : ::lseek(in.get(), data, SEEK_HOLE);
      ARCA_CHECK(range(in.get(), out.get(), data < 0 ? at : data, hole < 0 ? end : hole, path));
      at = hole < 0 ? end : hole;
    }
    return {};
  }

  result<void> range(int in, int out, off_t at, off_t end, const std::string& path) {
    while (at < end) {
      const ssize_t copied = ::copy_file_range(in, &at, out, write_position(at), static_cast<size_t>(end - at), 0);
      if (copied > 0) continue;
      if (copied == 0) return {};  // somebody has cut the file meanwhile
      if (errno == EINTR) continue;
      // Across file systems, or not known to this one.
      if (errno != EXDEV && errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
        return fail_errno("copy " + path);
      return by_hand(in, out, at, end, path);
    }
    return {};
  }

  // copy_file_range moves both positions; they are always equal here.
  off_t* write_position(off_t at) {
    out_at_ = at;
    return &out_at_;
  }

  result<void> by_hand(int in, int out, off_t at, off_t end, const std::string& path) {
    if (buffer_.empty()) buffer_.resize(block_size);
    while (at < end) {
      const ssize_t got = ::pread(in, buffer_.data(), std::min<size_t>(block_size, static_cast<size_t>(end - at)), at);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno("read " + path);
      if (got == 0) return {};
      for (ssize_t done = 0; done < got;) {
        const ssize_t put = ::pwrite(out, buffer_.data() + done, static_cast<size_t>(got - done), at + done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno("write " + path);
        done += put;
      }
      at += got;
    }
    return {};
  }

  static result<void> link(int from, int to, const std::string& name, const std::string& path, size_t size) {
    std::string target(size + 1, '\0');
    const ssize_t length = ::readlinkat(from, name.c_str(), target.data(), target.size());
    if (length < 0) return fail_errno("readlink " + path);
    target.resize(static_cast<size_t>(length));
    if (::symlinkat(target.c_str(), to, name.c_str()) != 0) return fail_errno("symlink " + path);
    return {};
  }

  static result<void> xattrs(const std::string& from, const std::string& to, const std::string& shown) {
    const ssize_t size = ::llistxattr(from.c_str(), nullptr, 0);
    if (size <= 0) return {};  // none, or a file system without
    if (static_cast<size_t>(size) > xattr_limit)
      return fail(errc::internal, "too many extended attributes on " + shown);
    std::string names(static_cast<size_t>(size), '\0');
    const ssize_t listed = ::llistxattr(from.c_str(), names.data(), names.size());
    if (listed < 0) return fail_errno("list extended attributes of " + shown);
    names.resize(static_cast<size_t>(listed));
    for (const auto& key : split(names, '\0')) {
      if (key.empty() || starts_with(key, "trusted.overlay.")) continue;
      std::string value(1u << 16, '\0');  // XATTR_SIZE_MAX
      const ssize_t length = ::lgetxattr(from.c_str(), key.c_str(), value.data(), value.size());
      if (length < 0) return fail_errno("read attribute " + key + " of " + shown);
      if (::lsetxattr(to.c_str(), key.c_str(), value.data(), static_cast<size_t>(length), 0) != 0) {
        // A security module's label belongs to where the file was; everything else must not get lost.
        if ((errno == ENOTSUP || errno == EPERM) && starts_with(key, "security.") && key != "security.capability")
          continue;
        return fail_errno("set attribute " + key + " of " + shown);
      }
    }
    return {};
  }

  int volume_;
  off_t out_at_ = 0;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;  ///< first path of a file with several links
  std::vector<char> buffer_;
};
}  // namespace

result<bool> copy_up(int root, const std::string& path, int volume) {
  ARCA_TRY(present, names_in(volume));
  if (!present.empty()) return false;
  const auto from = archive::open_in_root(root, path, O_RDONLY | O_DIRECTORY);
  if (!from) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return false;
    return fail_errno("copy into the volume: open " + path);
  }
  struct stat st {};
  if (::fstat(from.get(), &st) != 0) return fail_errno("stat " + path);
  tree_copy copy(volume);
  if (auto done = copy.folder(from.get(), volume, "", 0); !done) return fail(done.error().wrap("copy into the volume"));
  // "/." makes the l… calls act on the folder and not on the link below /proc.
  ARCA_CHECK(tree_copy::metadata(proc_path(from.get()) + "/.", proc_path(volume) + "/.", st, path));
  return true;
}

}  // namespace arca
