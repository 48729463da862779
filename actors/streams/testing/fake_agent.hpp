// For tests: the agent's end of a stdio socket, well-behaved or hostile, and small helpers to read channels and files.
#pragma once
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>

#include "actors/streams/byte_channel.hpp"
#include "guest/proto/stdio_frame.hpp"
#include "persistence/base/text.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::testing {

class fake_agent {
 public:
  fake_agent() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
    mine_.reset(fds[0]);
    daemon_.reset(fds[1]);
  }
  unique_fd daemon_end() { return std::move(daemon_); }
  int fd() const { return mine_.get(); }
  void close() { mine_.reset(); }

  void raw(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(mine_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  static std::string frame_bytes(stdio::frame_kind kind, uint64_t sequence, std::string_view payload = {},
                                 int stream = 1, int64_t time = 1'700'000'000'000'000'001) {
    stdio::frame f;
    f.kind = kind;
    f.stream = static_cast<uint8_t>(stream);
    f.length = static_cast<uint32_t>(payload.size());
    f.sequence = sequence;
    f.time = time;
    return std::string(reinterpret_cast<const char*>(&f), sizeof f).append(payload);
  }
  void output(std::string_view text, int stream = 1) {
    raw(frame_bytes(stdio::frame_kind::output, ++sequence, text, stream));
  }
  void end() { raw(frame_bytes(stdio::frame_kind::end, sequence)); }

  struct received {
    stdio::frame head{};
    std::string payload;
    bool ok = false;
  };
  /// The next frame from the daemon; not ok when none comes in time or the connection ended.
  received next(int timeout_ms = 20'000) {
    received r;
    if (!fill(&r.head, sizeof r.head, timeout_ms)) return r;
    r.payload.resize(r.head.length);
    r.ok = r.head.length == 0 || fill(r.payload.data(), r.payload.size(), 20'000);
    return r;
  }
  received next_of(stdio::frame_kind kind, int timeout_ms = 20'000) {
    for (;;) {
      auto r = next(timeout_ms);
      if (!r.ok || r.head.kind == kind) return r;
    }
  }
  /// Waits until everything up to `wanted` is acknowledged.
  bool acked(uint64_t wanted) {
    while (last_ack < wanted) {
      const auto r = next_of(stdio::frame_kind::ack);
      if (!r.ok) return false;
      last_ack = r.head.sequence;
    }
    return true;
  }

  uint64_t sequence = 0, last_ack = 0;

 private:
  bool fill(void* to, size_t size, int timeout_ms) {
    auto* at = static_cast<char*>(to);
    while (size > 0) {
      pollfd p{mine_.get(), POLLIN, 0};
      if (::poll(&p, 1, timeout_ms) <= 0) return false;
      const auto n = ::recv(mine_.get(), at, size, 0);
      if (n <= 0) return false;
      at += n;
      timeout_ms = 20'000;  // the rest of what has begun
      size -= static_cast<size_t>(n);
    }
    return true;
  }
  unique_fd mine_, daemon_;
};

/// Everything up to the end.
inline std::string read_all(byte_channel& channel) {
  std::string text;
  for (;;) {
    const auto data = channel.read_blocking();
    if (data.empty()) return text;
    for (const auto& c : data) text += *c;
  }
}
/// Reads until `wanted` bytes came.
inline std::string read_some(byte_channel& channel, size_t wanted) {
  std::string text;
  while (text.size() < wanted) {
    const auto data = channel.read_blocking();
    if (data.empty()) break;
    for (const auto& c : data) text += *c;
  }
  return text;
}
/// The frames of a multiplexed stream with neighbours of one stream joined: "1:text" …
inline std::string demultiplexed(std::string_view bytes) {
  std::string out;
  char last = 0;
  while (bytes.size() >= 8) {
    size_t size = 0;
    for (size_t i = 4; i < 8; ++i) size = size << 8 | static_cast<unsigned char>(bytes[i]);
    if (bytes.size() < 8 + size) return out + "[cut frame]";
    if (bytes[0] != last) out += std::string(out.empty() ? "" : "|") + static_cast<char>('0' + bytes[0]) + ':';
    last = bytes[0];
    out += bytes.substr(8, size);
    bytes.remove_prefix(8 + size);
  }
  return bytes.empty() ? out : out + "[cut header]";
}

class temp_dir {
 public:
  temp_dir() : path_("/tmp/streams-test-" + random_hex(6)) { std::filesystem::create_directory(path_); }
  ~temp_dir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

template <class Condition>
bool eventually(Condition condition, int timeout_ms = 30'000) {
  for (int i = 0; i < timeout_ms; ++i) {
    if (condition()) return true;
    ::poll(nullptr, 0, 1);
  }
  return condition();
}

}  // namespace arca::testing
