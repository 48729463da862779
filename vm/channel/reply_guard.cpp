#include "vm/channel/reply_guard.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>

namespace arca::vm {
namespace {

constexpr size_t most_begun = 4096;
constexpr unsigned type_data = 0, type_reset = 3, flag_padded = 8;

struct registered {
  uint64_t cookie;
  std::mutex lock;
  reply_guard guard;
};

/// By descriptor. Almost every recvmsg of this process is of another socket: `known` is all that it costs.
struct registry {
  static constexpr int most = 1 << 20;
  std::array<std::atomic<bool>, most> known{};
  std::mutex lock;
  std::map<int, std::shared_ptr<registered>> guards;

  static registry& get() {
    static auto* const one = new registry;  // threads of gRPC outlive main
    return *one;
  }
};

uint64_t cookie_of(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

}  // namespace

bool reply_guard::accept(std::string_view bytes) {
  while (!bytes.empty()) {
    if (have_ < head_.size()) {
      const size_t part = std::min(head_.size() - have_, bytes.size());
      std::copy_n(bytes.begin(), part, head_.begin() + have_);
      have_ += part;
      bytes.remove_prefix(part);
      if (have_ == head_.size()) begin_frame();
      continue;
    }
    const size_t part = std::min<size_t>(frame_left_, bytes.size());
    if (head_[3] == type_data && !data(bytes.substr(0, part))) return false;
    frame_left_ -= static_cast<uint32_t>(part);
    bytes.remove_prefix(part);
    if (frame_left_ == 0) end_frame();
  }
  return begun_.size() <= most_begun;
}

void reply_guard::begin_frame() {
  frame_left_ = static_cast<uint32_t>(head_[0] << 16 | head_[1] << 8 | head_[2]);
  padding_ = 0;
  wants_padding_ = head_[3] == type_data && (head_[4] & flag_padded) != 0;
  if (frame_left_ == 0) end_frame();
}

void reply_guard::end_frame() {
  have_ = 0;
  // The flag END_STREAM proves nothing: gRPC passes over it in a frame that it does not expect, and reads on. A server
  // that ends a call in the middle of a message sends a reset too.
  if (head_[3] == type_reset) begun_.erase(stream());
}

/// Of the frame. The first bit is reserved, and gRPC passes over it too: with it the same stream is meant.
uint32_t reply_guard::stream() const {
  return static_cast<uint32_t>((head_[5] & 0x7f) << 24 | head_[6] << 16 | head_[7] << 8 | head_[8]);
}

/// A part of the payload of the frame that has begun, of which frame_left_ bytes are to come with these.
bool reply_guard::data(std::string_view bytes) {
  uint32_t left = frame_left_;
  if (wants_padding_) {
    padding_ = static_cast<unsigned char>(bytes.front());
    wants_padding_ = false;
    bytes.remove_prefix(1);
    --left;
    if (padding_ > left) return false;
  }
  const uint32_t of_messages = left > padding_ ? left - padding_ : 0;
  return message_bytes(bytes.substr(0, of_messages));
}

bool reply_guard::message_bytes(std::string_view bytes) {
  if (bytes.empty()) return true;
  auto& now = begun_[stream()];
  while (!bytes.empty()) {
    if (now.have < now.head.size()) {
      const size_t part = std::min(now.head.size() - now.have, bytes.size());
      std::copy_n(bytes.begin(), part, now.head.begin() + now.have);
      now.have += part;
      bytes.remove_prefix(part);
      if (now.have < now.head.size()) return true;
      now.left = uint32_t{now.head[1]} << 24 | uint32_t{now.head[2]} << 16 | uint32_t{now.head[3]} << 8 | now.head[4];
      if (now.head[0] != 0 || now.left > largest_) return false;
    }
    const size_t part = std::min<size_t>(now.left, bytes.size());
    now.left -= static_cast<uint32_t>(part);
    bytes.remove_prefix(part);
    if (now.left == 0) now.have = 0;
  }
  if (now.have == 0) begun_.erase(stream());
  return true;
}

guarded_socket::guarded_socket(int fd, uint32_t largest) : fd_(fd), cookie_(cookie_of(fd)) {
  if (fd_ < 0 || fd_ >= registry::most) return;
  auto& all = registry::get();
  const std::lock_guard guard(all.lock);
  all.guards[fd_].reset(new registered{cookie_, {}, reply_guard(largest)});
  all.known[static_cast<size_t>(fd_)] = true;
}

guarded_socket::~guarded_socket() {
  if (fd_ < 0 || fd_ >= registry::most) return;
  auto& all = registry::get();
  const std::lock_guard guard(all.lock);
  const auto found = all.guards.find(fd_);
  if (found == all.guards.end() || found->second->cookie != cookie_) return;
  all.guards.erase(found);
  all.known[static_cast<size_t>(fd_)] = false;
}

}  // namespace arca::vm

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
namespace arca::vm {
namespace {

/// False: the connection has broken its limit.
bool passes(int fd, const msghdr& message, size_t received) {
  auto& all = registry::get();
  std::shared_ptr<registered> found;
  {
    const std::lock_guard guard(all.lock);
    if (const auto at = all.guards.find(fd); at != all.guards.end()) found = at->second;
  }
  if (!found || found->cookie != cookie_of(fd)) return true;
  const std::lock_guard guard(found->lock);
  for (size_t i = 0; i < message.msg_iovlen && received > 0; ++i) {
    const size_t part = std::min(message.msg_iov[i].iov_len, received);
    if (!found->guard.accept({static_cast<const char*>(message.msg_iov[i].iov_base), part})) return false;
    received -= part;
  }
  return true;
}

}  // namespace
}  // namespace arca::vm

/// Before glibc's, for every library of this process.
extern "C" ssize_t recvmsg(int fd, msghdr* message, int flags) {
  using arca::vm::registry;
  const auto n = static_cast<ssize_t>(syscall(SYS_recvmsg, fd, message, flags));
  if (n <= 0 || fd < 0 || fd >= registry::most || !registry::get().known[static_cast<size_t>(fd)]) return n;
  if ((flags & MSG_PEEK) != 0 || arca::vm::passes(fd, *message, static_cast<size_t>(n))) return n;
  ::shutdown(fd, SHUT_RDWR);
  errno = ECONNRESET;
  return -1;
}
#endif
