#include "guest/net_config.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "persistence/base/text.hpp"
#include "persistence/base/unique_fd.hpp"

namespace arca::guest {
namespace {

// One request with its attributes, sent and acknowledged on a socket of its own.
class request {
 public:
  template <class Body>
  request(uint16_t type, uint16_t flags, const Body& body) {
    auto& head = header();
    head.nlmsg_type = type;
    head.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    std::memcpy(NLMSG_DATA(&head), &body, sizeof body);
    head.nlmsg_len = NLMSG_LENGTH(sizeof body);
  }
  request& add(uint16_t type, const void* data, size_t size) {
    auto& head = header();
    rtattr attribute{};
    attribute.rta_type = type;
    attribute.rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
    char* at = bytes_.data() + NLMSG_ALIGN(head.nlmsg_len);
    std::memcpy(at, &attribute, sizeof attribute);
    std::memcpy(at + RTA_LENGTH(0), data, size);
    head.nlmsg_len = NLMSG_ALIGN(head.nlmsg_len) + static_cast<uint32_t>(RTA_ALIGN(RTA_LENGTH(size)));
    return *this;
  }
  request& add(uint16_t type, uint32_t value) { return add(type, &value, sizeof value); }

  /// 0 or errno.
  int send() {
    const unique_fd link(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!link || ::send(link.get(), bytes_.data(), header().nlmsg_len, 0) < 0) return errno;
    alignas(nlmsghdr) std::array<char, 8192> answer;
    const ssize_t n = recv(link.get(), answer.data(), answer.size(), 0);
    if (n < 0) return errno;
    const auto* reply = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (static_cast<size_t>(n) < NLMSG_LENGTH(sizeof(nlmsgerr)) || reply->nlmsg_type != NLMSG_ERROR) return EPROTO;
    return -static_cast<const nlmsgerr*>(NLMSG_DATA(reply))->error;
  }

 private:
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }
  alignas(nlmsghdr) std::array<char, 512> bytes_{};
};

struct address {
  uint8_t family = AF_UNSPEC;
  std::array<uint8_t, 16> bytes{};
  uint8_t prefix = 0;
  size_t size() const { return family == AF_INET ? 4 : 16; }
};

result<address> parse_address(const std::string& text, bool with_prefix) {
  address out;
  const auto slash = text.find('/');
  const std::string host = text.substr(0, slash);
  out.family = host.find(':') != std::string::npos ? AF_INET6 : AF_INET;
  unsigned prefix = out.family == AF_INET ? 32 : 128;
  const unsigned most = prefix;
  char rest = 0;
  const bool prefix_good = slash == std::string::npos
                               ? !with_prefix
                               : with_prefix && std::sscanf(text.c_str() + slash + 1, "%3u%c", &prefix, &rest) == 1;
  if (inet_pton(out.family, host.c_str(), out.bytes.data()) != 1 || !prefix_good || prefix > most)
    return fail(errc::invalid_argument, "invalid address " + go_quote(text));
  out.prefix = static_cast<uint8_t>(prefix);
  return out;
}

result<void> check(int failure, const std::string& what, int accepted = 0) {
  if (failure == 0 || failure == accepted) return {};
  return fail(errno_error(what, failure));
}

result<void> check_name(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of(std::string("/ \0", 3)) != std::string::npos)
    return fail(errc::invalid_argument, "invalid device name " + go_quote(name));
  return {};
}

// Index of the device with this hardware address; 0: none.
int index_by_mac(const std::string& mac) {
  const unique_fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!any) return 0;
  struct names {
    struct if_nameindex* list = if_nameindex();
    ~names() { if_freenameindex(list); }
  } all;
  for (auto* each = all.list; each && each->if_index != 0; ++each) {
    ifreq query{};
    std::strncpy(query.ifr_name, each->if_name, IFNAMSIZ - 1);
    if (ioctl(any.get(), SIOCGIFHWADDR, &query) != 0) continue;
    const auto* hw = reinterpret_cast<const unsigned char*>(query.ifr_hwaddr.sa_data);
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", hw[0], hw[1], hw[2], hw[3], hw[4], hw[5]);
    if (lower(mac) == text.data()) return static_cast<int>(each->if_index);
  }
  return 0;
}

ifinfomsg link_message(int index) {
  ifinfomsg body{};
  body.ifi_index = index;
  return body;
}

result<void> take_down(int index, const std::string& name) {
  ifinfomsg down = link_message(index);
  down.ifi_change = IFF_UP;
  return check(request(RTM_NEWLINK, 0, down).send(), "take down " + name);
}

// Names are given by the kernel in the order of arrival: another device may have the wanted one.
result<void> rename(int index, const std::string& name) {
  ARCA_CHECK(take_down(index, name));
  return check(request(RTM_NEWLINK, 0, link_message(index)).add(IFLA_IFNAME, name.c_str(), name.size() + 1).send(),
               "rename to " + name);
}

result<void> bring_up(int index, const std::string& name, const interface_config* config) {
  ifinfomsg body = link_message(index);
  body.ifi_flags = body.ifi_change = IFF_UP;
  request up(RTM_NEWLINK, 0, body);
  if (config && config->mtu != 0) up.add(IFLA_MTU, config->mtu);
  return check(up.send(), "bring up " + name);
}

result<void> add_address(int index, const std::string& text) {
  ARCA_TRY(parsed, parse_address(text, true));
  ifaddrmsg body{};
  body.ifa_family = parsed.family;
  body.ifa_prefixlen = parsed.prefix;
  body.ifa_index = static_cast<uint32_t>(index);
  request add(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body);
  add.add(IFA_LOCAL, parsed.bytes.data(), parsed.size()).add(IFA_ADDRESS, parsed.bytes.data(), parsed.size());
  if (parsed.family == AF_INET6) {
    add.add(IFA_FLAGS, uint32_t{IFA_F_NODAD});  // the engine hands out addresses: nobody else has it
  } else if (parsed.prefix < 31) {
    std::array<uint8_t, 4> broadcast{};
    const auto host_part = static_cast<uint32_t>((uint64_t{1} << (32 - parsed.prefix)) - 1);
    for (unsigned i = 0; i < 4; ++i)
      broadcast[i] = static_cast<uint8_t>(parsed.bytes[i] | (host_part >> (8 * (3 - i))));
    add.add(IFA_BROADCAST, broadcast.data(), broadcast.size());
  }
  return check(add.send(), "add address " + text, EEXIST);
}

// `index` 0: the kernel finds the device by the gateway.
result<void> send_route(uint16_t type, uint16_t flags, const address& destination, const std::string& gateway,
                        int index, const std::string& what, int accepted = 0) {
  rtmsg body{};
  body.rtm_family = destination.family;
  body.rtm_dst_len = destination.prefix;
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_BOOT;
  body.rtm_scope = gateway.empty() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  body.rtm_type = RTN_UNICAST;
  request route(type, flags, body);
  if (destination.prefix > 0) route.add(RTA_DST, destination.bytes.data(), destination.size());
  if (!gateway.empty()) {
    ARCA_TRY(parsed, parse_address(gateway, false));
    if (parsed.family != destination.family)
      return fail(errc::invalid_argument, "gateway " + go_quote(gateway) + " is of another family than its route");
    route.add(RTA_GATEWAY, parsed.bytes.data(), parsed.size());
  }
  if (index != 0) route.add(RTA_OIF, static_cast<uint32_t>(index));
  return check(route.send(), what, accepted);
}

result<void> add_default_route(int index, const std::string& gateway) {
  if (gateway.empty()) return {};
  ARCA_TRY(parsed, parse_address(gateway, false));
  address anywhere;
  anywhere.family = parsed.family;
  return send_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, anywhere, gateway, index,
                    "add default route by " + gateway);
}

result<int> index_of(const std::string& name) {
  ARCA_CHECK(check_name(name));
  const int index = static_cast<int>(if_nametoindex(name.c_str()));
  if (index == 0) return fail(errc::not_found, "no network device " + name);
  return index;
}

unique_fd own_network() {
  return unique_fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

// On a thread that is used for nothing else.
result<unique_fd> move_into_new_network(const interface_config& config) {
  const unique_fd home = own_network();
  if (!home) return fail_errno("open the network namespace");
  if (unshare(CLONE_NEWNET) != 0) return fail_errno("make a network namespace");
  unique_fd made = own_network();
  if (!made || setns(home.get(), CLONE_NEWNET) != 0) return fail_errno("open the network namespace");
  const int index = index_by_mac(config.mac);
  if (index == 0) return fail(errc::not_found, "no network device with address " + config.mac);
  ARCA_CHECK(
      check(request(RTM_NEWLINK, 0, link_message(index)).add(IFLA_NET_NS_FD, static_cast<uint32_t>(made.get())).send(),
            "move " + config.name));
  if (setns(made.get(), CLONE_NEWNET) != 0) return fail_errno("enter the network namespace");
  ARCA_CHECK(bring_up_loopback());
  ARCA_CHECK(configure_interface(config));
  return made;
}
}  // namespace

result<unique_fd> configure_in_new_network(const interface_config& config) {
  result<unique_fd> out = fail(errc::internal, "not done");
  std::thread([&] { out = move_into_new_network(config); }).join();
  return out;
}

result<void> bring_up_loopback() {
  return bring_up(1, "lo", nullptr);
}

bool has_interface(const std::string& mac) {
  return index_by_mac(mac) != 0;
}

result<void> configure_interface(const interface_config& config) {
  ARCA_CHECK(check_name(config.name));
  int index = config.mac.empty() ? static_cast<int>(if_nametoindex(config.name.c_str())) : index_by_mac(config.mac);
  if (index == 0)
    return fail(errc::not_found,
                "no network device " + (config.mac.empty() ? config.name : "with address " + config.mac));
  if (if_nametoindex(config.name.c_str()) != static_cast<unsigned>(index)) {
    if (const auto other = static_cast<int>(if_nametoindex(config.name.c_str())); other != 0 && !config.mac.empty())
      ARCA_CHECK(rename(other, "other" + std::to_string(other)));
    ARCA_CHECK(rename(index, config.name));
  }
  ARCA_CHECK(bring_up(index, config.name, &config));
  for (const auto& each : config.addresses) ARCA_CHECK(add_address(index, each));
  ARCA_CHECK(add_default_route(index, config.gateway4));
  return add_default_route(index, config.gateway6);
}

result<void> remove_interface(const std::string& name) {
  ARCA_TRY(index, index_of(name));
  return check(request(RTM_DELLINK, 0, link_message(index)).send(), "remove " + name, ENODEV);
}

result<void> set_interface(const std::string& name, bool up) {
  ARCA_TRY(index, index_of(name));
  return up ? bring_up(index, name, nullptr) : take_down(index, name);
}

result<void> change_route(const route_change& what) {
  ARCA_TRY(destination, parse_address(what.destination, true));
  if (what.gateway.empty() && what.interface.empty())
    return fail(errc::invalid_argument, "a route needs a gateway or a device");
  int index = 0;
  if (!what.interface.empty()) {
    ARCA_TRY(found, index_of(what.interface));
    index = found;
  }
  const auto route = "route to " + what.destination;
  if (what.remove) return send_route(RTM_DELROUTE, 0, destination, what.gateway, index, "remove " + route, ESRCH);
  return send_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, destination, what.gateway, index, "add " + route);
}

}  // namespace arca::guest
