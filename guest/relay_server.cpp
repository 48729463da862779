#include "guest/relay_server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"

namespace arca::guest {
namespace {
constexpr int backlog = 64;
constexpr size_t longest_name = 32;
constexpr mode_t all_modes = 0777;

bool good_name(const std::string& name) {
  return !name.empty() && name.size() <= longest_name && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}

// Nobody but root reaches the place where it is bound, so its owner is set before anybody can connect.
result<unique_fd> listen_at(const std::string& path, const relay_order& what) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(errc::invalid_argument, path + " is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  unique_fd made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made || bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chown(path.c_str(), what.uid, what.gid) != 0 || chmod(path.c_str(), what.mode) != 0 ||
      listen(made.get(), backlog) != 0)
    return fail_errno("listen at " + path);
  return made;
}

/// Whoever it was given to may have changed it.
bool is_as_ordered(const std::string& path, const relay_order& what) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) && info.st_uid == what.uid &&
         info.st_gid == what.gid && (info.st_mode & ~mode_t{S_IFMT}) == what.mode;
}

result<unique_fd> tree_of(const std::string& path) {
  unique_fd tree(open_tree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!tree) return fail_errno("open " + path);
  return tree;
}
}  // namespace

relay_server::~relay_server() {
  watch_all(false);
}

result<unique_fd> relay_server::make(const relay_order& what) {
  if (!good_name(what.name)) return fail(errc::invalid_argument, "invalid name of a relay " + go_quote(what.name));
  if ((what.mode & ~all_modes) != 0) return fail(errc::invalid_argument, "invalid mode");
  const std::string path = folder_ + "/relay-" + what.name;
  if (listeners_.contains(what.name)) {
    if (!is_as_ordered(path, what)) return fail(errc::conflict, "relay " + what.name + " exists already");
    return tree_of(path);
  }
  if (listeners_.size() >= most_relays) return fail(errc::unavailable, "too many relays");
  ARCA_CHECK(fs::make_dirs(folder_));
  ARCA_TRY(listener, listen_at(path, what));
  ARCA_TRY(tree, tree_of(path));
  const int fd = (listeners_[what.name] = std::move(listener)).get();
  if (watched_) loop_.watch(fd, EPOLLIN, [this, name = what.name](uint32_t) { accept(name); });
  return std::move(tree);
}

void relay_server::accept(const std::string& name) {
  unique_fd socket(accept4(listeners_.at(name).get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return;
  ucred client{};
  socklen_t size = sizeof client;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &client, &size) != 0) return;
  const uint64_t id = ++last_id_;
  auto& made = waiting_[id] = {{id, name, client.uid, client.gid}, std::move(socket)};
  if (waiting_.size() >= most_waiting) watch_all(false);
  if (sink_) sink_(made.facts);
}

void relay_server::watch_all(bool wanted) {
  if (std::exchange(watched_, wanted) == wanted) return;
  for (const auto& [name, listener] : listeners_) {
    if (wanted)
      loop_.watch(listener.get(), EPOLLIN, [this, each = name](uint32_t) { accept(each); });
    else
      loop_.forget(listener.get());
  }
}

void relay_server::set_sink(std::function<void(const relayed_connection&)> sink) {
  sink_ = std::move(sink);
  if (!sink_) return;
  for (const auto& [id, each] : waiting_) sink_(each.facts);
}

unique_fd relay_server::take(uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return {};
  unique_fd out = std::move(found->second.socket);
  waiting_.erase(found);
  watch_all(true);
  return out;
}

}  // namespace arca::guest
