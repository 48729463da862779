// Messages of the call StdioStream.Open, which both ends register raw: the bytes go from and to their owners' memory
// without a protobuf object in between. On the wire they are what agent.proto says: message Chunk { bytes data = 1; }.
#pragma once
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace arca::agent {

inline constexpr size_t most_message_bytes = 256u << 10;  ///< in a message

/// Takes the bytes over, which follow one another. Not for none.
inline grpc::ByteBuffer to_message(std::vector<grpc::Slice> bytes) {
  uint8_t head[1 + 5] = {0x0a};  // field 1, length-delimited
  size_t used = 1;
  size_t length = 0;
  for (const auto& each : bytes) length += each.size();
  for (; length >= 0x80; length >>= 7) head[used++] = static_cast<uint8_t>(length | 0x80);
  head[used++] = static_cast<uint8_t>(length);
  bytes.insert(bytes.begin(), grpc::Slice(head, used));
  return {bytes.data(), bytes.size()};
}
inline grpc::ByteBuffer to_message(grpc::Slice bytes) {
  return to_message(std::vector{std::move(bytes)});
}

/// The bytes of a message, to be read in pieces.
class message_bytes {
 public:
  /// False: it is no such message, or larger than one may be. What was left of the one before is dropped.
  bool take(const grpc::ByteBuffer& message) {
    at_ = offset_ = 0;
    slices_.clear();
    left_ = message.Length();
    if (left_ == 0) return true;  // an empty field is not written
    if (left_ > most_message_bytes + 6 || !message.Dump(&slices_).ok()) return false;
    uint8_t byte = 0;
    if (!next(byte) || byte != 0x0a) return false;
    uint64_t length = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      if (!next(byte)) return false;
      length |= uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80) == 0) return length == left_;
    }
    return false;
  }
  size_t left() const { return left_; }
  std::string all() {
    std::string out;
    out.reserve(left_);
    for (; at_ < slices_.size(); ++at_, offset_ = 0)
      out.append(reinterpret_cast<const char*>(slices_[at_].begin()) + offset_, slices_[at_].size() - offset_);
    slices_.clear();
    left_ = 0;
    return out;
  }
  /// The number of bytes, 0 only when there are none.
  size_t read(char* into, size_t room) {
    size_t done = 0;
    while (done < room && left_ > 0) {
      const auto& slice = slices_[at_];
      const size_t part = std::min(room - done, slice.size() - offset_);
      std::memcpy(into + done, slice.begin() + offset_, part);
      done += part;
      left_ -= part;
      offset_ += part;
      if (offset_ == slice.size()) {
        ++at_;
        offset_ = 0;
      }
    }
    if (left_ == 0) slices_.clear();
    return done;
  }

 private:
  bool next(uint8_t& byte) {
    char one = 0;
    if (read(&one, 1) != 1) return false;
    byte = static_cast<uint8_t>(one);
    return true;
  }

  std::vector<grpc::Slice> slices_;
  size_t at_ = 0, offset_ = 0;  ///< the next byte: slice, place in it
  size_t left_ = 0;
};

}  // namespace arca::agent
