#include "persistence/archive/folder_stack.hpp"

#include <climits>

#include "persistence/archive/syscalls.hpp"

namespace arca::archive {
namespace {

constexpr size_t open_levels = 24;  // descriptors held at most: a hostile archive must not use up the process's
constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

std::string below(std::string_view folder, std::string_view name) {
  std::string out(folder);
  if (!out.empty()) out += '/';
  out += name;
  return out;
}

result<std::string> real_path(int fd) {
  char text[PATH_MAX];
  const ssize_t n = ::readlink(proc_path(fd).c_str(), text, sizeof text);
  if (n < 0) return fail_errno("readlink of an open folder");
  return std::string(text, static_cast<size_t>(n));
}

}  // namespace

folder_stack::folder_stack(int root, unique_fd start, std::string start_path) : root_(root) {
  struct stat st {};
  const bool setgid = ::fstat(start.get(), &st) == 0 && (st.st_mode & S_ISGID) != 0;
  levels_.push_back({"", std::move(start_path), std::move(start), setgid});
}

result<int> folder_stack::fd_of(level& l) {
  if (!l.fd) {
    l.fd = open_no_links(root_, l.path, folder_flags);
    if (!l.fd) return fail_errno("open " + l.path);
  }
  return l.fd.get();
}

result<folder_stack::folder> folder_stack::top() {
  auto& l = levels_.back();
  ARCA_TRY(fd, fd_of(l));
  return folder{fd, l.path, l.setgid};
}

void folder_stack::pop() {
  auto& l = levels_.back();
  if (!times_.empty()) {
    if (const auto found = times_.find(l.path); found != times_.end()) {
      if (const auto fd = fd_of(l)) ::futimens(*fd, found->second.data());
    }
  }
  levels_.pop_back();
}

void folder_stack::leave_all() {
  while (levels_.size() > 1) pop();
  // The start itself, when the archive brought times for it.
  if (const auto found = times_.find(levels_.front().path); found != times_.end())
    ::futimens(levels_.front().fd.get(), found->second.data());
}

result<void> folder_stack::push(std::string_view name, unique_fd fd, std::string path) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno("stat " + path);
  levels_.push_back({std::string(name), std::move(path), std::move(fd), (st.st_mode & S_ISGID) != 0});
  if (levels_.size() > open_levels + 1) levels_[levels_.size() - open_levels].fd.reset();
  return {};
}

result<void> folder_stack::push_link(std::string_view name) {
  const std::string link = below(levels_.back().path, name);
  unique_fd fd = open_in_root(root_, link, O_RDONLY | O_DIRECTORY);
  if (!fd) return fail_errno("open " + link);
  if (root_real_.empty()) {
    ARCA_TRY(root_path, real_path(root_));
    root_real_ = root_path == "/" ? "" : root_path;
  }
  ARCA_TRY(path, real_path(fd.get()));
  if (path.compare(0, root_real_.size(), root_real_) != 0)
    return fail(bad_archive, link + " is outside of the archive's root");
  const size_t start = path.find_first_not_of('/', root_real_.size());
  return push(name, std::move(fd), start == std::string::npos ? "" : path.substr(start));
}

result<void> folder_stack::push_child(std::string_view name, bool make) {
  const std::string child(name);
  ARCA_TRY(parent, fd_of(levels_.back()));
  for (int attempt = 0; attempt < 8; ++attempt) {
    unique_fd fd(::openat(parent, child.c_str(), folder_flags));
    if (fd) return push(name, std::move(fd), below(levels_.back().path, name));
    if (errno == ENOENT && make) {
      if (::mkdirat(parent, child.c_str(), 0755) != 0 && errno != EEXIST)
        return fail_errno("mkdir " + below(levels_.back().path, name));
      // The process's umask may have taken bits away.
      fd.reset(::openat(parent, child.c_str(), folder_flags));
      if (fd && ::fchmod(fd.get(), 0755) != 0) return fail_errno("chmod " + below(levels_.back().path, name));
      if (fd) return push(name, std::move(fd), below(levels_.back().path, name));
      continue;
    }
    if (errno != ENOTDIR && errno != ELOOP) return fail_errno("open " + below(levels_.back().path, name));
    struct stat st {};
    if (::fstatat(parent, child.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // it changed under us
    if (S_ISLNK(st.st_mode)) return push_link(name);
    if (S_ISCHR(st.st_mode) && st.st_rdev == 0 && replace_whiteout) {
      ARCA_TRY(replaced, replace_whiteout(parent, child));
      if (replaced) continue;
    }
    if (!S_ISDIR(st.st_mode))
      return fail(bad_archive, "mkdir " + below(levels_.back().path, name) + ": not a directory");
  }
  return fail(errc::internal, "open " + below(levels_.back().path, name) + ": it keeps changing");
}

result<folder_stack::folder> folder_stack::enter(const std::vector<std::string_view>& components) {
  size_t same = 0;
  while (same < components.size() && same + 1 < levels_.size() && levels_[same + 1].name == components[same]) ++same;
  while (levels_.size() > same + 1) pop();
  for (size_t i = same; i < components.size(); ++i) ARCA_CHECK(push_child(components[i], true));
  return top();
}

result<folder_stack::folder> folder_stack::enter_child(std::string_view name) {
  ARCA_CHECK(push_child(name, false));
  return top();
}

}  // namespace arca::archive
