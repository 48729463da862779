// IPv4 addresses, subnets and MAC addresses as values and as text.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace arca::net {

/// In host byte order.
using ip4 = uint32_t;

std::optional<ip4> parse_ip4(std::string_view text);  ///< "172.17.0.2" only: four decimal numbers without leading zeros
std::string to_string(ip4 address);

/// An address with a prefix length; `address` may have host bits ("172.17.0.1/16").
struct subnet4 {
  ip4 address = 0;
  uint8_t prefix = 0;

  ip4 mask() const { return prefix == 0 ? 0 : ~ip4{0} << (32 - prefix); }
  ip4 first() const { return address & mask(); }  ///< the network itself
  ip4 last() const { return address | ~mask(); }  ///< the broadcast address
  bool contains(ip4 a) const { return (a & mask()) == first(); }
  bool overlaps(const subnet4& o) const { return contains(o.first()) || o.contains(first()); }
  subnet4 network() const { return {first(), prefix}; }
  bool operator==(const subnet4&) const = default;
};

std::optional<subnet4> parse_subnet4(std::string_view text);
std::string to_string(const subnet4& s);

using mac_address = std::array<uint8_t, 6>;
std::optional<mac_address> parse_mac(std::string_view text);  ///< six pairs of hex digits, ':' between
std::string to_string(const mac_address& m);
/// Random, unicast, locally administered.
mac_address random_mac();

}  // namespace arca::net
