#include "actors/network/ipam.hpp"

#include <algorithm>

namespace arca {

ip_pool::ip_pool(net::subnet4 subnet, net::ip4 gateway, std::string label, std::optional<net::subnet4> range)
    : subnet_(subnet.network()),
      // /31 and /32 have no network and broadcast address (RFC 3021).
      first_(subnet_.prefix < 31 ? subnet_.first() + 1 : subnet_.first()),
      last_(subnet_.prefix < 31 ? subnet_.last() - 1 : subnet_.last()),
      low_(range ? std::max(first_, range->first()) : first_),
      high_(range ? std::min(last_, range->last()) : last_),
      cursor_(low_),
      gateway_(gateway),
      label_(std::move(label)) {}

std::optional<net::ip4> ip_pool::free_from(net::ip4 begin, net::ip4 end) const {
  auto used = used_.lower_bound(begin);
  for (uint64_t at = begin; at <= end; ++at) {
    if (used != used_.end() && *used == at) {
      ++used;
      continue;
    }
    if (at != gateway_) return static_cast<net::ip4>(at);
  }
  return std::nullopt;
}

result<net::ip4> ip_pool::next() {
  auto found = free_from(cursor_, high_);
  if (!found && cursor_ > low_) found = free_from(low_, cursor_ - 1);
  if (!found) return fail(errc::internal, "no available IPv4 addresses on this network's address pools: " + label_);
  used_.insert(*found);
  cursor_ = *found == high_ ? low_ : *found + 1;
  return *found;
}

result<void> ip_pool::reserve(net::ip4 address) {
  if (address < first_ || address > last_)
    return fail(errc::invalid_argument,
                "no configured subnet or ip-range contain the IP address " + net::to_string(address));
  if (address == gateway_ || !used_.insert(address).second) return fail(errc::forbidden, "Address already in use");
  if (address >= cursor_ && address <= high_) cursor_ = address == high_ ? low_ : address + 1;
  return {};
}

void ip_pool::release(net::ip4 address) {
  used_.erase(address);
}

static bool is_free(const net::subnet4& subnet, const std::vector<net::subnet4>& taken) {
  return std::none_of(taken.begin(), taken.end(), [&](const auto& t) { return t.overlaps(subnet); });
}

std::optional<net::subnet4> choose_subnet(const std::vector<address_pool>& pools,
                                          const std::vector<net::subnet4>& taken) {
  for (const auto& pool : pools) {
    const auto base = net::parse_subnet4(pool.base);
    if (!base || pool.size < base->prefix || pool.size > 30) continue;
    const uint64_t step = uint64_t{1} << (32 - pool.size);
    for (uint64_t at = base->first(); at <= base->last(); at += step) {
      const net::subnet4 candidate{static_cast<net::ip4>(at), static_cast<uint8_t>(pool.size)};
      if (is_free(candidate, taken)) return candidate;
    }
  }
  return std::nullopt;
}

std::optional<bridge_addresses> choose_bridge_addresses(const std::optional<bridge_addresses>& stored, bool held,
                                                        const host_view& host, const std::vector<address_pool>& pools) {
  if (stored && (held || is_free(stored->subnet, host.taken))) return stored;
  for (const auto& own : host.own)
    if (own.prefix <= 30 && is_free(own, host.taken)) return bridge_addresses{own.network(), own.address};
  const auto chosen = choose_subnet(pools, host.taken);
  if (!chosen) return std::nullopt;
  return bridge_addresses{*chosen, chosen->first() + 1};
}

}  // namespace arca
