// A little rtnetlink: build one request, send it, read the acknowledgement or the dump. No library: the daemon's memory
// stays small, and libnl cannot put a veth's peer into another namespace with its attributes in one message.
#pragma once
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "persistence/base/error.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::net {

/// One message, grown as attributes are added.
class nl_request {
 public:
  nl_request(uint16_t type, uint16_t flags);

  /// The fixed header after nlmsghdr (ifinfomsg, ifaddrmsg, rtmsg).
  template <class Header>
  nl_request& body(const Header& header) {
    append(&header, sizeof header);
    return *this;
  }
  nl_request& put(uint16_t type, const void* data, size_t size);
  nl_request& put(uint16_t type, std::string_view text);  ///< with a terminating zero
  nl_request& put_u32(uint16_t type, uint32_t value) { return put(type, &value, sizeof value); }
  nl_request& put_u8(uint16_t type, uint8_t value) { return put(type, &value, sizeof value); }

  /// Attributes added by `fill` lie inside an attribute of `type`.
  template <class Fill>
  nl_request& nest(uint16_t type, Fill fill) {
    const size_t begin = open(type);
    fill(*this);
    close(begin);
    return *this;
  }
  std::string_view finish(uint32_t sequence);

 private:
  void append(const void* data, size_t size);
  size_t open(uint16_t type);
  void close(size_t begin);
  std::string bytes_;
};

/// The attributes of one answer message, by type; points into the receive buffer.
class nl_attributes {
 public:
  nl_attributes(const nlmsghdr* message, size_t header_size);
  std::string_view bytes(uint16_t type) const;  ///< empty when absent
  std::string text(uint16_t type) const;        ///< without the terminating zero
  uint32_t u32(uint16_t type, uint32_t otherwise = 0) const;
  std::string_view nested(uint16_t outer, uint16_t inner) const;

 private:
  std::string_view area_;
};

class nl_socket {
 public:
  static result<nl_socket> open();

  /// Sends and waits for the acknowledgement. `what` begins the error's text.
  result<void> run(nl_request& request, std::string_view what);
  /// Sends a dump request and shows each message of the answer to `each`.
  result<void> dump(nl_request& request, std::string_view what, const std::function<void(const nlmsghdr*)>& each);

 private:
  explicit nl_socket(unique_fd fd) : fd_(std::move(fd)) {}
  /// Receives until the acknowledgement, the end of the dump or an error (its errno).
  result<int> receive(const std::function<void(const nlmsghdr*)>& each);
  unique_fd fd_;
  uint32_t sequence_ = 0;
};

}  // namespace arca::net
