#include "vm/oci/program_search.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <deque>
#include <optional>

#include "persistence/base/text.hpp"
#include "vm/oci/rootfs.hpp"

namespace arca::oci {
namespace {
constexpr int most_links = 40;

std::deque<std::string> parts_of(std::string_view path) {
  std::deque<std::string> out;
  for (auto& part : split(path, '/'))
    if (!part.empty() && part != ".") out.push_back(std::move(part));
  return out;
}

/// The link's text; empty: it is none. nullopt: it cannot be told.
std::optional<std::string> link_at(int root_fd, const std::string& path) {
  const auto found = open_below(root_fd, path, O_PATH | O_NOFOLLOW);
  if (!found) return found.error().code() == errc::not_found ? std::optional(std::string()) : std::nullopt;
  char text[PATH_MAX];
  const ssize_t n = readlinkat(found->get(), "", text, sizeof text);
  if (n >= 0) return std::string(text, static_cast<size_t>(n));
  return errno == ENOENT || errno == EINVAL ? std::optional(std::string()) : std::nullopt;
}

/// What mostly is the case one look tells: nothing on the way is a link, and all of it is there or something is not.
struct plain_look {
  std::string path;
  enum class answer : uint8_t { there, missing, unknown } told = answer::unknown;
};
plain_look look_without_links(int root_fd, const std::deque<std::string>& parts) {
  plain_look out;
  for (const auto& part : parts) {
    if (part == "..") return out;
    out.path += '/' + part;
  }
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
  const unique_fd found(static_cast<int>(syscall(SYS_openat2, root_fd, out.path.c_str(), &how, sizeof how)));
  if (found)
    out.told = plain_look::answer::there;
  else if (errno == ENOENT)
    out.told = plain_look::answer::missing;
  return out;
}

/// Without links, also where nothing is there: "/bin/x" → "/usr/bin/x".
std::optional<std::string> real_path(int root_fd, std::string_view path) {
  auto left = parts_of(path);
  if (auto plain = look_without_links(root_fd, left); plain.told == plain_look::answer::there) return plain.path;
  std::string real;
  int links = 0;
  while (!left.empty()) {
    const auto part = std::move(left.front());
    left.pop_front();
    if (part == "..") {
      real.erase(std::min(real.size(), real.rfind('/')));
      continue;
    }
    const auto target = link_at(root_fd, real + '/' + part);
    if (!target) return {};
    if (target->empty()) {
      real += '/' + part;
      continue;
    }
    if (++links > most_links) return {};
    if (target->front() == '/') real.clear();
    auto next = parts_of(*target);
    left.insert(left.begin(), std::make_move_iterator(next.begin()), std::make_move_iterator(next.end()));
  }
  return real;
}

bool is_below(std::string_view path, std::string_view folder) {
  return starts_with(path, folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

}  // namespace

size_t folders_without(int root_fd, std::string_view program, std::string_view path,
                       const std::vector<std::string>& mount_points) {
  if (root_fd < 0 || program.empty() || program.find('/') != std::string_view::npos) return 0;
  std::vector<std::string> covered = {"/proc", "/sys", "/dev"};
  for (const auto& point : mount_points) {
    auto real = real_path(root_fd, point);
    if (!real) return 0;
    covered.push_back(std::move(*real));
  }
  size_t count = 0;
  for (const auto& folder : split(path, ':')) {
    if (folder.empty() || folder.front() != '/') break;
    const auto is_covered = [&](const std::string& file) {
      return std::ranges::any_of(covered, [&](const auto& point) { return is_below(file, point); });
    };
    const auto plain = look_without_links(root_fd, parts_of(folder + '/' + std::string(program)));
    if (plain.told == plain_look::answer::there) break;
    if (plain.told == plain_look::answer::missing) {
      if (is_covered(plain.path)) break;
      ++count;
      continue;
    }
    auto file = real_path(root_fd, folder);
    if (!file) break;
    *file += '/' + std::string(program);
    if (is_covered(*file)) break;
    const auto found = open_below(root_fd, *file, O_PATH | O_NOFOLLOW);
    if (found || found.error().code() != errc::not_found) break;
    ++count;
  }
  return count;
}

}  // namespace arca::oci
