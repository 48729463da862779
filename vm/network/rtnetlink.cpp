#include "vm/network/rtnetlink.hpp"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

namespace arca::net {

nl_request::nl_request(uint16_t type, uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  append(&header, sizeof header);
}

void nl_request::append(const void* data, size_t size) {
  bytes_.append(static_cast<const char*>(data), size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()), '\0');
}

nl_request& nl_request::put(uint16_t type, const void* data, size_t size) {
  const rtattr header{static_cast<uint16_t>(RTA_LENGTH(size)), type};
  append(&header, sizeof header);
  if (size != 0) append(data, size);
  return *this;
}

nl_request& nl_request::put(uint16_t type, std::string_view text) {
  const std::string copy(text);
  return put(type, copy.c_str(), copy.size() + 1);
}

size_t nl_request::open(uint16_t type) {
  const size_t begin = bytes_.size();
  put(type, nullptr, 0);
  return begin;
}

void nl_request::close(size_t begin) {
  const auto length = static_cast<uint16_t>(bytes_.size() - begin);
  std::memcpy(bytes_.data() + begin + offsetof(rtattr, rta_len), &length, sizeof length);
}

std::string_view nl_request::finish(uint32_t sequence) {
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
  return bytes_;
}

namespace {
std::string_view find(std::string_view area, uint16_t type) {
  while (area.size() >= sizeof(rtattr)) {
    rtattr header;
    std::memcpy(&header, area.data(), sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > area.size()) break;
    if ((header.rta_type & NLA_TYPE_MASK) == type) return area.substr(sizeof header, header.rta_len - sizeof header);
    area.remove_prefix(std::min<size_t>(area.size(), RTA_ALIGN(header.rta_len)));
  }
  return {};
}
}  // namespace

nl_attributes::nl_attributes(const nlmsghdr* message, size_t header_size) {
  const size_t offset = NLMSG_HDRLEN + NLMSG_ALIGN(header_size);
  if (message->nlmsg_len > offset)
    area_ = {reinterpret_cast<const char*>(message) + offset, message->nlmsg_len - offset};
}
std::string_view nl_attributes::bytes(uint16_t type) const {
  return find(area_, type);
}
std::string nl_attributes::text(uint16_t type) const {
  const auto raw = bytes(type);
  return std::string(raw.substr(0, raw.find('\0')));
}
uint32_t nl_attributes::u32(uint16_t type, uint32_t otherwise) const {
  const auto raw = bytes(type);
  if (raw.size() >= sizeof otherwise) std::memcpy(&otherwise, raw.data(), sizeof otherwise);
  return otherwise;
}
std::string_view nl_attributes::nested(uint16_t outer, uint16_t inner) const {
  return find(bytes(outer), inner);
}

result<nl_socket> nl_socket::open() {
  unique_fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail_errno("netlink socket");
  const timeval patience{5, 0};  // the kernel answers at once; this only keeps a lost answer from hanging a thread
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const int on = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return nl_socket(std::move(fd));
}

result<int> nl_socket::receive(const std::function<void(const nlmsghdr*)>& each) {
  alignas(nlmsghdr) char buffer[32 * 1024];
  for (;;) {
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("netlink receive");
    auto left = static_cast<unsigned>(got);
    for (auto* m = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_seq != sequence_) continue;
      if (m->nlmsg_type == NLMSG_DONE) return 0;
      if (m->nlmsg_type == NLMSG_ERROR) {
        int32_t code = 0;
        std::memcpy(&code, NLMSG_DATA(m), sizeof code);
        return -code;
      }
      each(m);
    }
  }
}

result<void> nl_socket::run(nl_request& request, std::string_view what) {
  return dump(request, what, [](const nlmsghdr*) {});
}

result<void> nl_socket::dump(nl_request& request, std::string_view what,
                             const std::function<void(const nlmsghdr*)>& each) {
  const auto bytes = request.finish(++sequence_);
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return fail_errno(what);
  ARCA_TRY(code, receive(each));
  if (code != 0) return fail(errno_error(what, code));
  return {};
}

}  // namespace arca::net
