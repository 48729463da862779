#include "vm/network/links.hpp"

#include <endian.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "persistence/base/fs.hpp"
#include "persistence/base/text.hpp"
#include "vm/network/rtnetlink.hpp"

namespace arca::net {
namespace {
// Marks our devices ("arca" in ASCII) so that neither sweep nor removal touches one of somebody else.
constexpr uint32_t link_group = 0x61726361;

result<void> check_name(const std::string& name) {
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == ".." ||
      name.find_first_of("/: \t\n") != std::string::npos)
    return fail(errc::invalid_argument, "invalid network device name " + go_quote(name));
  return {};
}

struct link_state {
  uint32_t index = 0, mtu = 0, flags = 0, group = 0;
  std::string kind;
};

result<link_state> read_link(nl_socket& socket, const std::string& name) {
  nl_request request(RTM_GETLINK, NLM_F_ACK);
  request.body(ifinfomsg{}).put(IFLA_IFNAME, name);
  link_state state;
  ARCA_CHECK(socket.dump(request, "read network device " + name, [&](const nlmsghdr* m) {
    if (m->nlmsg_type != RTM_NEWLINK) return;
    const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(m));
    const nl_attributes attributes(m, sizeof *info);
    state.index = static_cast<uint32_t>(info->ifi_index);
    state.flags = info->ifi_flags;
    state.mtu = attributes.u32(IFLA_MTU);
    state.group = attributes.u32(IFLA_GROUP);
    const auto kind = attributes.nested(IFLA_LINKINFO, IFLA_INFO_KIND);
    state.kind = std::string(kind.substr(0, kind.find('\0')));
  }));
  return state;
}

result<std::vector<subnet4>> read_addresses(nl_socket& socket, uint32_t only, uint32_t except) {
  nl_request request(RTM_GETADDR, NLM_F_DUMP);
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  request.body(header);
  std::vector<subnet4> found;
  ARCA_CHECK(socket.dump(request, "read addresses", [&](const nlmsghdr* m) {
    if (m->nlmsg_type != RTM_NEWADDR) return;
    const auto* info = static_cast<const ifaddrmsg*>(NLMSG_DATA(m));
    if ((only != 0 && info->ifa_index != only) || (except != 0 && info->ifa_index == except)) return;
    const nl_attributes attributes(m, sizeof *info);
    const uint16_t type = attributes.bytes(IFA_LOCAL).empty() ? IFA_ADDRESS : IFA_LOCAL;
    found.push_back({be32toh(attributes.u32(type)), info->ifa_prefixlen});
  }));
  return found;
}

result<void> make_bridge(nl_socket& socket, const bridge_spec& bridge) {
  // A bridge without a MAC of its own takes the lowest of its ports and changes it as they come and go, which breaks
  // every container's ARP entry for the gateway.
  const auto mac = random_mac();
  nl_request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  request.body(ifinfomsg{})
      .put(IFLA_IFNAME, bridge.name)
      .put(IFLA_ADDRESS, mac.data(), mac.size())
      .put_u32(IFLA_MTU, bridge.mtu)
      .put_u32(IFLA_GROUP, link_group)
      .nest(IFLA_LINKINFO, [](nl_request& r) { r.put(IFLA_INFO_KIND, std::string_view("bridge")); });
  return socket.run(request, "create bridge " + bridge.name);
}

result<void> set_up(nl_socket& socket, const bridge_spec& bridge, uint32_t index) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(index);
  header.ifi_flags = header.ifi_change = IFF_UP;
  nl_request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(header).put_u32(IFLA_MTU, bridge.mtu);
  return socket.run(request, "bring up bridge " + bridge.name);
}

result<void> add_address(nl_socket& socket, const bridge_spec& bridge, uint32_t index) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET;
  header.ifa_prefixlen = bridge.address.prefix;
  header.ifa_index = index;
  nl_request request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  request.body(header)
      .put_u32(IFA_LOCAL, htobe32(bridge.address.address))
      .put_u32(IFA_ADDRESS, htobe32(bridge.address.address))
      .put_u32(IFA_BROADCAST, htobe32(bridge.address.last()));
  return socket.run(request, "give bridge " + bridge.name + " the address " + to_string(bridge.address));
}

result<void> switch_on(const std::string& sysctl) {
  const std::string path = "/proc/sys/net/ipv4/" + sysctl;
  ARCA_TRY(now, fs::read_file(path, 16));
  if (starts_with(now, "1")) return {};
  ARCA_TRY(file, fs::open(path, O_WRONLY));
  return fs::write_all(file.get(), "1\n");
}
}  // namespace

result<void> ensure_bridge(const bridge_spec& bridge) {
  ARCA_CHECK(check_name(bridge.name));
  ARCA_TRY(socket, nl_socket::open());
  if (link_index(bridge.name) == 0) {
    // Somebody may be quicker; then the checks below decide about what he made.
    if (auto made = make_bridge(socket, bridge); !made && made.error().code() != errc::conflict)
      return fail(made.error());
  }
  ARCA_TRY(link, read_link(socket, bridge.name));
  if (link.kind != "bridge") return fail(errc::conflict, "network device " + bridge.name + " exists and is no bridge");
  ARCA_TRY(addresses, read_addresses(socket, link.index, 0));
  bool present = false;
  for (const auto& a : addresses) present = present || a == bridge.address;
  if (!present) {
    if (auto added = add_address(socket, bridge, link.index); !added && added.error().code() != errc::conflict)
      return fail(added.error());
  }
  if ((link.flags & IFF_UP) == 0 || link.mtu != bridge.mtu) ARCA_CHECK(set_up(socket, bridge, link.index));
  return switch_on("ip_forward");
}

result<void> create_veth(const veth_spec& veth, int netns) {
  ARCA_CHECK(check_name(veth.host_name));
  ARCA_CHECK(check_name(veth.guest_name));
  const auto mac = parse_mac(veth.mac);
  if (!mac) return fail(errc::invalid_argument, "invalid MAC address " + veth.mac);
  const uint32_t bridge = link_index(veth.bridge);
  if (bridge == 0) return fail(errc::not_found, "no bridge " + veth.bridge);
  ARCA_TRY(socket, nl_socket::open());
  ifinfomsg host{};
  host.ifi_flags = host.ifi_change = IFF_UP;
  nl_request request(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  request.body(host)
      .put(IFLA_IFNAME, veth.host_name)
      .put_u32(IFLA_MTU, veth.mtu)
      .put_u32(IFLA_GROUP, link_group)
      .put_u32(IFLA_MASTER, bridge)
      .nest(IFLA_LINKINFO, [&](nl_request& info) {
        info.put(IFLA_INFO_KIND, std::string_view("veth")).nest(IFLA_INFO_DATA, [&](nl_request& data) {
          data.nest(VETH_INFO_PEER, [&](nl_request& peer) {
            peer.body(ifinfomsg{})
                .put(IFLA_IFNAME, veth.guest_name)
                .put(IFLA_ADDRESS, mac->data(), mac->size())
                .put_u32(IFLA_MTU, veth.mtu)
                .put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(netns));
          });
        });
      });
  return socket.run(request, "create network device " + veth.host_name);
}

result<unique_fd> create_tap(const tap_spec& tap) {
  ARCA_CHECK(check_name(tap.name));
  const uint32_t bridge = link_index(tap.bridge);
  if (bridge == 0) return fail(errc::not_found, "no bridge " + tap.bridge);
  ARCA_TRY(device, fs::open("/dev/net/tun", O_RDWR));
  ifreq wanted{};
  std::memcpy(wanted.ifr_name, tap.name.data(), tap.name.size());
  wanted.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
  if (::ioctl(device.get(), TUNSETIFF, &wanted) != 0) return fail_errno("create network device " + tap.name);
  ARCA_TRY(socket, nl_socket::open());
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(link_index(tap.name));
  header.ifi_flags = header.ifi_change = IFF_UP;
  nl_request request(RTM_NEWLINK, NLM_F_ACK);
  request.body(header).put_u32(IFLA_MTU, tap.mtu).put_u32(IFLA_GROUP, link_group).put_u32(IFLA_MASTER, bridge);
  ARCA_CHECK(socket.run(request, "set up network device " + tap.name));
  return std::move(device);
}

result<void> remove_link(const std::string& name) {
  ARCA_CHECK(check_name(name));
  ARCA_TRY(socket, nl_socket::open());
  nl_request request(RTM_DELLINK, NLM_F_ACK);
  request.body(ifinfomsg{}).put(IFLA_IFNAME, name);
  if (auto removed = socket.run(request, "remove network device " + name)) return {};
  // The kernel says ENODEV; ask again rather than look at the text.
  else if (link_index(name) == 0)
    return {};
  else
    return fail(removed.error());
}

result<void> remove_bridge(const std::string& name) {
  ARCA_CHECK(check_name(name));
  if (link_index(name) == 0) return {};
  ARCA_TRY(socket, nl_socket::open());
  ARCA_TRY(link, read_link(socket, name));
  if (link.kind != "bridge" || link.group != link_group) return {};
  return remove_link(name);
}

result<void> route_loopback(const std::string& bridge) {
  ARCA_CHECK(check_name(bridge));
  return switch_on("conf/" + bridge + "/route_localnet");
}

uint32_t link_index(const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) return 0;
  std::memcpy(request.ifr_name, name.data(), name.size());
  const unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || ::ioctl(fd.get(), SIOCGIFINDEX, &request) != 0) return 0;
  return static_cast<uint32_t>(request.ifr_ifindex);
}

result<std::vector<std::string>> list_veths(const std::string& bridge) {
  std::vector<std::string> found;
  const uint32_t master = link_index(bridge);
  if (master == 0) return found;
  ARCA_TRY(socket, nl_socket::open());
  nl_request request(RTM_GETLINK, NLM_F_DUMP);
  request.body(ifinfomsg{});
  ARCA_CHECK(socket.dump(request, "list network devices", [&](const nlmsghdr* m) {
    if (m->nlmsg_type != RTM_NEWLINK) return;
    const nl_attributes attributes(m, sizeof(ifinfomsg));
    if (attributes.u32(IFLA_GROUP) == link_group && attributes.u32(IFLA_MASTER) == master)
      found.push_back(attributes.text(IFLA_IFNAME));
  }));
  return found;
}

result<std::vector<subnet4>> link_addresses(const std::string& name) {
  const uint32_t index = link_index(name);
  if (index == 0) return std::vector<subnet4>{};
  ARCA_TRY(socket, nl_socket::open());
  return read_addresses(socket, index, 0);
}

result<std::vector<subnet4>> host_subnets(const std::string& except) {
  const uint32_t skip = link_index(except);
  ARCA_TRY(socket, nl_socket::open());
  ARCA_TRY(found, read_addresses(socket, 0, skip));
  nl_request request(RTM_GETROUTE, NLM_F_DUMP);
  rtmsg header{};
  header.rtm_family = AF_INET;
  request.body(header);
  ARCA_CHECK(socket.dump(request, "read routes", [&](const nlmsghdr* m) {
    if (m->nlmsg_type != RTM_NEWROUTE) return;
    const auto* route = static_cast<const rtmsg*>(NLMSG_DATA(m));
    const nl_attributes attributes(m, sizeof *route);
    if (route->rtm_dst_len == 0 || (route->rtm_flags & RTM_F_CLONED) != 0) return;
    if (skip != 0 && attributes.u32(RTA_OIF) == skip) return;
    found.push_back({be32toh(attributes.u32(RTA_DST)), route->rtm_dst_len});
  }));
  return found;
}

}  // namespace arca::net
