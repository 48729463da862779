#include "vm/oci/user.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "persistence/base/text.hpp"
#include "vm/oci/rootfs.hpp"

namespace arca::oci {
namespace {

constexpr int64_t max_id = (int64_t{1} << 31) - 1;

std::optional<int64_t> number(std::string_view text) {
  int64_t value = 0;
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct passwd_line {
  std::string name, home;
  int64_t uid = 0, gid = 0;
};
struct group_line {
  std::string name;
  int64_t gid = 0;
  std::vector<std::string> members;
};

/// Calls `visit` with the fields of each line that is no comment; stops when it answers true.
template <class Visit>
void each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line[0] == '#') continue;
    if (visit(split(line, ':'))) return;
  }
}

template <class Match>
std::optional<passwd_line> find_passwd(std::string_view text, Match match) {
  std::optional<passwd_line> found;
  each_line(text, [&](const std::vector<std::string>& f) {
    passwd_line line;
    line.name = f[0];
    if (f.size() > 2) line.uid = number(f[2]).value_or(0);
    if (f.size() > 3) line.gid = number(f[3]).value_or(0);
    if (f.size() > 5) line.home = f[5];
    if (!match(line)) return false;
    found = std::move(line);
    return true;
  });
  return found;
}

std::vector<group_line> read_groups(std::string_view text) {
  std::vector<group_line> lines;
  each_line(text, [&](const std::vector<std::string>& f) {
    group_line line;
    line.name = f[0];
    if (f.size() > 2) line.gid = number(f[2]).value_or(0);
    if (f.size() > 3 && !f[3].empty()) line.members = split(f[3], ',');
    lines.push_back(std::move(line));
    return false;
  });
  return lines;
}

tl::unexpected<error> out_of_range() {
  return fail(errc::internal, "uids and gids must be in range 0-2147483647");
}
tl::unexpected<error> no_group(const std::string& name) {
  return fail(errc::internal, "unable to find group " + name + ": no matching entries in group file");
}
bool in_range(int64_t id) {
  return id >= 0 && id <= max_id;
}

/// A group by name, by number, or a number that no line has.
result<uint32_t> find_group(const std::vector<group_line>& groups, const std::string& wanted) {
  const auto id = number(wanted);
  for (const auto& g : groups)
    if (g.name == wanted || (id && g.gid == *id)) {
      if (!in_range(g.gid)) return out_of_range();
      return static_cast<uint32_t>(g.gid);
    }
  if (!id) return no_group(wanted);
  if (!in_range(*id)) return out_of_range();
  return static_cast<uint32_t>(*id);
}

}  // namespace

result<resolved_user> resolve_user(std::string_view user, const std::vector<std::string>& group_add,
                                   std::string_view passwd, std::string_view group) {
  const auto colon = user.find(':');
  const std::string user_part(user.substr(0, colon));
  const std::string group_part(colon == std::string_view::npos ? std::string_view{} : user.substr(colon + 1));
  const auto id = number(user_part);
  const auto groups = read_groups(group);

  resolved_user out;
  std::string name;
  const auto line = find_passwd(passwd, [&](const passwd_line& l) {
    if (user_part.empty()) return l.uid == 0;
    return l.name == user_part || (id && l.uid == *id);
  });
  if (line) {
    if (!in_range(line->uid) || !in_range(line->gid)) return out_of_range();
    name = line->name;
    out.uid = static_cast<uint32_t>(line->uid);
    out.gid = static_cast<uint32_t>(line->gid);
    if (!line->home.empty()) out.home = line->home;
  } else if (!user_part.empty()) {
    if (!id) return fail(errc::internal, "unable to find user " + user_part + ": no matching entries in passwd file");
    if (!in_range(*id)) return out_of_range();
    out.uid = static_cast<uint32_t>(*id);
  }

  std::vector<uint32_t> others;
  if (!group_part.empty()) {
    ARCA_TRY(gid, find_group(groups, group_part));
    out.gid = gid;
  } else if (!name.empty()) {
    for (const auto& g : groups)
      if (std::find(g.members.begin(), g.members.end(), name) != g.members.end() && in_range(g.gid))
        others.push_back(static_cast<uint32_t>(g.gid));
  }
  for (const auto& wanted : group_add) {
    ARCA_TRY(gid, find_group(groups, wanted));
    others.push_back(gid);
  }
  out.groups.push_back(out.gid);
  for (const auto gid : others)
    if (std::find(out.groups.begin(), out.groups.end(), gid) == out.groups.end()) out.groups.push_back(gid);
  return out;
}

std::string read_below(int root_fd, const char* path, size_t limit) {
  const auto file = open_below(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat info {};
  if (!file || fstat(file->get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  std::string text(std::min(limit, static_cast<size_t>(info.st_size)), '\0');
  size_t used = 0;
  while (used < text.size()) {
    const auto n = ::read(file->get(), text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    used += static_cast<size_t>(n);
  }
  text.resize(used);
  return text;
}

result<resolved_user> resolve_user(int root_fd, std::string_view user, const std::vector<std::string>& group_add) {
  return resolve_user(user, group_add, read_below(root_fd, "etc/passwd", 1u << 20),
                      read_below(root_fd, "etc/group", 1u << 20));
}

}  // namespace arca::oci
