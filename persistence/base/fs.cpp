#include "persistence/base/fs.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "persistence/base/failpoint.hpp"
#include "persistence/base/text.hpp"

namespace arca::fs {

result<unique_fd> open(const std::string& path, int flags, int mode) {
  unique_fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return fail_errno("open " + path);
  return fd;
}

result<std::string> read_file(const std::string& path, size_t limit) {
  ARCA_TRY(fd, open(path, O_RDONLY));
  std::string data;
  std::string chunk(64 << 10, '\0');
  for (;;) {
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("read " + path);
    }
    if (n == 0) return data;
    if (data.size() + static_cast<size_t>(n) > limit) return fail(errc::invalid_argument, path + ": file too large");
    data.append(chunk.data(), static_cast<size_t>(n));
  }
}

result<void> write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("write");
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

result<void> write_file_atomic(const std::string& path, std::string_view data, int mode, bool durable) {
  const std::string temporary = path + ".tmp-" + random_hex(6);
  {
    ARCA_TRY(fd, open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
    auto written = write_all(fd.get(), data);
    if (written && durable && ::fsync(fd.get()) != 0) written = fail_errno("fsync");
    if (!written) {
      ::unlink(temporary.c_str());
      return fail(written.error().wrap(path));
    }
  }
  failpoint::reached("before-file");
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    auto failure = fail_errno("rename " + path);
    ::unlink(temporary.c_str());
    return failure;
  }
  failpoint::reached("file");
  if (durable) {
    const auto slash = path.find_last_of('/');
    ARCA_TRY(folder, open(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY));
    if (::fsync(folder.get()) != 0) return fail_errno("fsync folder of " + path);
  }
  return {};
}

result<void> make_dirs(const std::string& path, int mode) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    if (!part.empty() && ::mkdir(part.c_str(), static_cast<mode_t>(mode)) != 0 && errno != EEXIST)
      return fail_errno("mkdir " + part);
    if (at == std::string::npos) break;
  }
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail_errno("stat " + path);
  if (!S_ISDIR(st.st_mode)) return fail(errc::conflict, path + " is not a folder");
  return {};
}

result<std::vector<std::string>> list(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return fail_errno("list " + path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get()))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      names.emplace_back(entry->d_name);
  return names;
}

namespace {
// Depth is bounded by descriptors, not by recursion on paths: each level holds one open folder.
result<void> remove_at(int parent, const char* name, dev_t device, int depth) {
  if (::unlinkat(parent, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail_errno(std::string("unlink ") + name);
  if (depth > 900) return fail(errc::internal, std::string("remove ") + name + ": nested too deep");
  {
    unique_fd fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return fail_errno(std::string("open ") + name);
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) return fail_errno(std::string("stat ") + name);
    if (st.st_dev != device) return fail(errc::conflict, std::string("remove ") + name + ": is a mount point");
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(::dup(fd.get())), ::closedir);
    if (!dir) return fail_errno(std::string("list ") + name);
    while (const dirent* entry = ::readdir(dir.get())) {
      if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
      ARCA_CHECK(remove_at(fd.get(), entry->d_name, device, depth + 1));
    }
  }
  if (::unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) return fail_errno(std::string("rmdir ") + name);
  return {};
}
}  // namespace

result<void> remove_tree(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    return fail_errno("stat " + path);
  }
  auto removed = remove_at(AT_FDCWD, path.c_str(), st.st_dev, 0);
  if (!removed) return fail(removed.error().wrap("remove " + path));
  return {};
}

}  // namespace arca::fs
