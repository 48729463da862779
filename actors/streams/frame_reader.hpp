// Takes the agent's frames (guest/proto/stdio_frame.hpp) out of received bytes, in place. The agent is not trusted:
// what breaks the format is `broken`, and the socket is given up.
#pragma once
#include <string_view>

#include "guest/proto/stdio_frame.hpp"

namespace arca {

class frame_reader {
 public:
  enum class status : uint8_t { frame, need_more, broken };
  explicit frame_reader(std::string_view bytes) : bytes_(bytes) {}

  /// The next frame of a kind that the daemon knows; others are passed over. `payload` points into the bytes.
  status next(stdio::frame& header, std::string_view& payload);
  /// Bytes of whole frames so far; what follows is the beginning of the next.
  size_t consumed() const { return at_; }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
};

}  // namespace arca
