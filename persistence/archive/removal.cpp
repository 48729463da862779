#include "persistence/archive/removal.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <string_view>
#include <vector>

#include "persistence/base/unique_fd.hpp"

namespace arca::archive {
namespace {

struct close_dir {
  void operator()(DIR* d) const { ::closedir(d); }
};

struct open_folder {
  std::unique_ptr<DIR, close_dir> dir;
  std::string name, path;
};

result<void> remove_leaf(int parent, const std::string& name, std::string_view path, const struct stat& st,
                         const removal_observer& observer) {
  if (observer) ARCA_CHECK(observer(parent, name, path, st));
  if (::unlinkat(parent, name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("remove " + std::string(path));
  return {};
}

result<open_folder> open_at(int parent, const std::string& name, std::string path) {
  unique_fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("open " + path);
  std::unique_ptr<DIR, close_dir> dir(::fdopendir(fd.get()));
  if (!dir) return fail_errno("list " + path);
  fd.release();
  return open_folder{std::move(dir), name, std::move(path)};
}

}  // namespace

result<void> remove_below(int parent, const std::string& name, std::string_view path,
                          const removal_observer& observer) {
  struct stat st {};
  if (::fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno("stat " + std::string(path));
  }
  if (!S_ISDIR(st.st_mode)) return remove_leaf(parent, name, path, st, observer);

  std::vector<open_folder> open;
  ARCA_TRY(first, open_at(parent, name, std::string(path)));
  open.push_back(std::move(first));
  while (!open.empty()) {
    auto& folder = open.back();
    const int fd = ::dirfd(folder.dir.get());
    errno = 0;
    const dirent* entry = ::readdir(folder.dir.get());
    if (entry == nullptr) {
      if (errno != 0) return fail_errno("list " + folder.path);
      const std::string done = folder.name;
      const std::string done_path = folder.path;
      open.pop_back();
      const int up = open.empty() ? parent : ::dirfd(open.back().dir.get());
      if (::unlinkat(up, done.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return fail_errno("rmdir " + done_path);
      continue;
    }
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    std::string child_path = folder.path + "/" + child;
    if (::fstatat(fd, child.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return fail_errno("stat " + child_path);
    }
    if (!S_ISDIR(st.st_mode)) {
      ARCA_CHECK(remove_leaf(fd, child, child_path, st, observer));
      continue;
    }
    if (open.size() > 400) return fail(bad_archive, "remove " + std::string(path) + ": nested too deep");
    ARCA_TRY(next, open_at(fd, child, std::move(child_path)));
    open.push_back(std::move(next));
  }
  return {};
}

}  // namespace arca::archive
