// Bounds what an agent can make gRPC keep. gRPC looks at the size of a message when all of it is in memory, and
// inflates a compressed one without any limit (1.51; grpc/grpc#43012): an answer of 4 GiB would be read. Here the
// lengths are looked at as they arrive, in the HTTP/2 frames of one connection.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string_view>

namespace arca::vm {

class reply_guard {
 public:
  /// `largest`: bytes of a message. Nothing that a well-behaved server sends is refused.
  explicit reply_guard(uint32_t largest) : largest_(largest) {}

  /// What came next on the connection. False: a message is too large, or compressed, which nobody asked for; or more
  /// messages have begun than there can be calls.
  bool accept(std::string_view bytes);

 private:
  struct message {
    std::array<unsigned char, 5> head{};  ///< compressed flag, length
    size_t have = 0;                      ///< of it
    uint32_t left = 0;                    ///< of the body, when the head is whole
  };
  bool data(std::string_view bytes);
  bool message_bytes(std::string_view bytes);
  void begin_frame();
  void end_frame();
  uint32_t stream() const;

  const uint32_t largest_;
  std::array<unsigned char, 9> head_{};
  size_t have_ = 0;                    ///< of the frame's head
  uint32_t frame_left_ = 0;            ///< of its payload
  uint32_t padding_ = 0;               ///< at the end of the payload
  bool wants_padding_ = false;         ///< its length comes first
  std::map<uint32_t, message> begun_;  ///< by stream; between two messages there is none
};

/// Puts a guard before gRPC's reads of a connected socket, for as long as this lives; a connection that breaks the
/// limit is shut down. It works by a recvmsg of ours (gRPC's shared library finds it first), so not in sanitizer
/// builds, which have one of their own.
class guarded_socket {
 public:
  guarded_socket() = default;
  guarded_socket(int fd, uint32_t largest);
  guarded_socket(const guarded_socket&) = delete;
  guarded_socket& operator=(const guarded_socket&) = delete;
  ~guarded_socket();

 private:
  const int fd_ = -1;
  const uint64_t cookie_ = 0;  ///< the number may be another socket's by now
};

}  // namespace arca::vm
