#include "guest/native/below.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

namespace arca::guest::native {
namespace {
constexpr int most_links = 40;  // as the kernel

// A path being walked: components up to `end` exist or are being made.
class walk {
 public:
  bool assign(std::string_view path) {
    if (path.size() + 2 > sizeof text_ || path.find('\0') != std::string_view::npos) {
      errno = path.size() + 2 > sizeof text_ ? ENAMETOOLONG : EINVAL;
      return false;
    }
    std::memmove(text_, path.data(), path.size());
    text_[size_ = path.size()] = '\0';
    return true;
  }
  /// Replaces the component [begin, end) by a link's text and starts again.
  bool follow(size_t begin, size_t end, std::string_view link) {
    char whole[PATH_MAX];
    size_t at = 0;
    const auto put = [&](std::string_view part) {
      if (at + part.size() + 2 > sizeof whole) return false;
      std::memcpy(whole + at, part.data(), part.size());
      at += part.size();
      return true;
    };
    const bool fits = (link.starts_with('/') || put({text_, begin})) && put(link) && put({text_ + end, size_ - end});
    if (!fits) errno = ENAMETOOLONG;
    return fits && assign({whole, at});
  }
  char* text() { return text_; }
  size_t size() const { return size_; }

 private:
  char text_[PATH_MAX] = {};
  size_t size_ = 0;
};

bool make_component(int parent, const char* name, bool folder) {
  if (folder) return mkdirat(parent, name, 0755) == 0;
  const unique_fd made(openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  return static_cast<bool>(made);
}

enum class step : uint8_t { done, again, failed };

// Makes what is missing of the path; `again` when a dangling link was put in its place.
step make_missing(int root, walk& path, entry_kind kind) {
  unique_fd parent = open_in_root(root, ".", O_PATH | O_DIRECTORY);
  if (!parent) return step::failed;
  for (size_t at = 0; at < path.size();) {
    while (at < path.size() && path.text()[at] == '/') ++at;
    size_t end = at;
    while (end < path.size() && path.text()[end] != '/') ++end;
    if (end == at) break;
    size_t rest = end;
    while (rest < path.size() && path.text()[rest] == '/') ++rest;
    const bool folder = rest < path.size() || kind == entry_kind::folder;
    const char separator = path.text()[end];
    path.text()[end] = '\0';
    // Each prefix is opened anew from the root, so that ".." and links mean what they mean inside.
    unique_fd next = open_in_root(root, path.text(), O_PATH | (folder ? O_DIRECTORY : 0));
    const char* name = path.text() + at;
    if (!next && errno == ENOENT && std::strcmp(name, "..") != 0) {
      if (make_component(parent.get(), name, folder)) {
        next = open_in_root(root, path.text(), O_PATH | (folder ? O_DIRECTORY : 0));
      } else if (errno == EEXIST) {  // a dangling link
        char link[PATH_MAX];
        const ssize_t n = readlinkat(parent.get(), name, link, sizeof link - 1);
        if (n <= 0) return step::failed;
        path.text()[end] = separator;
        return path.follow(at, end, {link, static_cast<size_t>(n)}) ? step::again : step::failed;
      }
    }
    path.text()[end] = separator;
    if (!next) return step::failed;
    parent = std::move(next);
    at = end;
  }
  return step::done;
}
}  // namespace

unique_fd open_in_root(int root, const char* path, int flags, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
  // EAGAIN: something in the tree was renamed meanwhile and the kernel cannot vouch for the walk.
  for (int attempt = 0; attempt < 32; ++attempt) {
    unique_fd fd(static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how)));
    if (fd || (errno != EAGAIN && errno != EINTR)) return fd;
  }
  return {};
}

unique_fd make_in_root(int root, std::string_view path, entry_kind kind, uint64_t resolve) {
  walk it;
  if (!it.assign(path.empty() ? std::string_view("/") : path)) return {};
  const int flags = O_PATH | (kind == entry_kind::folder ? O_DIRECTORY : 0);
  for (int links = 0; links < most_links; ++links) {
    unique_fd there = open_in_root(root, it.text(), flags, resolve);
    if (there || errno != ENOENT) return there;
    switch (make_missing(root, it, kind)) {
      case step::failed:
        return {};
      case step::done:
        return open_in_root(root, it.text(), flags, resolve);
      case step::again:
        break;
    }
  }
  errno = ELOOP;
  return {};
}

fd_path::fd_path(int fd) noexcept {
  constexpr std::string_view prefix = "/proc/self/fd/";
  std::memcpy(text_, prefix.data(), prefix.size());
  char digits[12];
  size_t count = 0;
  for (auto rest = static_cast<unsigned>(fd); count == 0 || rest != 0; rest /= 10)
    digits[count++] = static_cast<char>('0' + rest % 10);
  size_t at = prefix.size();
  while (count > 0) text_[at++] = digits[--count];
  text_[at] = '\0';
}

}  // namespace arca::guest::native
