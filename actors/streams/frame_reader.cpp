#include "actors/streams/frame_reader.hpp"

#include <cstring>

namespace arca {

frame_reader::status frame_reader::next(stdio::frame& header, std::string_view& payload) {
  using stdio::frame_kind;
  for (;;) {
    if (bytes_.size() - at_ < sizeof header) return status::need_more;
    std::memcpy(&header, bytes_.data() + at_, sizeof header);
    if (header.length > stdio::max_payload) return status::broken;
    if (bytes_.size() - at_ - sizeof header < header.length) return status::need_more;
    payload = bytes_.substr(at_ + sizeof header, header.length);
    switch (header.kind) {
      case frame_kind::output:
        if (header.stream != 1 && header.stream != 2) return status::broken;
        break;
      case frame_kind::end:
      case frame_kind::lost:
      case frame_kind::stdin_credit:
      case frame_kind::stdin_closed:
        if (header.length != 0) return status::broken;
        break;
      case frame_kind::ack:
      case frame_kind::stdin_data:
      case frame_kind::stdin_close:
      case frame_kind::resize:
        return status::broken;  // these are the daemon's
      default:
        at_ += sizeof header + header.length;  // of a newer agent
        continue;
    }
    at_ += sizeof header + header.length;
    return status::frame;
  }
}

}  // namespace arca
