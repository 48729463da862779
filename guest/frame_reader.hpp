// Cuts the bytes that come from the daemon on a stdio connection into frames.
#pragma once
#include <cstring>
#include <string>
#include <string_view>

#include "guest/proto/stdio_frame.hpp"

namespace arca::guest {

class frame_reader {
 public:
  /// Calls `on_frame(const stdio::frame&, std::string_view payload)` for each whole frame; the payload is valid during
  /// the call. False after a frame that no daemon sends (too long a payload): the connection is to be closed. on_frame
  /// returns false to say the same of what it was given.
  template <class Handler>
  bool feed(std::string_view bytes, Handler&& on_frame) {
    while (!bytes.empty()) {
      if (partial_.empty()) {
        const size_t whole = size_of_first(bytes);
        if (whole == refused) return false;
        if (whole <= bytes.size()) {
          if (!hand_over(bytes.substr(0, whole), on_frame)) return false;
          bytes.remove_prefix(whole);
          continue;
        }
      }
      // At most up to the end of the header, then up to the end of the frame.
      size_t want = partial_.size() < sizeof(stdio::frame) ? sizeof(stdio::frame) : size_of_first(partial_);
      const size_t take = std::min(bytes.size(), want - partial_.size());
      partial_.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      want = size_of_first(partial_);
      if (want == refused) return false;
      if (partial_.size() < want) continue;
      const std::string complete = std::move(partial_);
      partial_.clear();
      if (!hand_over(complete, on_frame)) return false;
    }
    return true;
  }

 private:
  static constexpr size_t refused = ~size_t{0};
  static constexpr size_t unknown = refused - 1;

  static size_t size_of_first(std::string_view bytes) {
    if (bytes.size() < sizeof(stdio::frame)) return unknown;
    stdio::frame head;
    std::memcpy(&head, bytes.data(), sizeof head);
    return head.length > stdio::max_payload ? refused : sizeof head + head.length;
  }
  template <class Handler>
  static bool hand_over(std::string_view whole, Handler&& on_frame) {
    stdio::frame head;
    std::memcpy(&head, whole.data(), sizeof head);
    return on_frame(head, whole.substr(sizeof head));
  }

  std::string partial_;
};

}  // namespace arca::guest
