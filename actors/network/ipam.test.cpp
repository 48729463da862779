#include "actors/network/ipam.hpp"

#include <catch2/catch.hpp>

using namespace arca;
using net::parse_ip4;
using net::parse_subnet4;

namespace {
ip_pool pool_of(const char* subnet, const char* gateway) {
  return {*parse_subnet4(subnet), *parse_ip4(gateway), "bridge (0123)"};
}
std::string next(ip_pool& pool) {
  const auto got = pool.next();
  return got ? net::to_string(*got) : got.error().message();
}
}  // namespace

TEST_CASE("addresses start behind the gateway and go on, also after a release") {
  auto pool = pool_of("172.17.0.0/16", "172.17.0.1");
  CHECK(next(pool) == "172.17.0.2");
  CHECK(next(pool) == "172.17.0.3");
  pool.release(*parse_ip4("172.17.0.2"));
  CHECK(next(pool) == "172.17.0.4");
  CHECK(pool.in_use() == 2);
}

TEST_CASE("all addresses of a small network, each once, then Docker's words") {
  auto pool = pool_of("10.9.8.0/29", "10.9.8.4");
  for (const char* want : {"10.9.8.1", "10.9.8.2", "10.9.8.3", "10.9.8.5", "10.9.8.6"}) CHECK(next(pool) == want);
  CHECK(next(pool) == "no available IPv4 addresses on this network's address pools: bridge (0123)");
  pool.release(*parse_ip4("10.9.8.2"));
  CHECK(next(pool) == "10.9.8.2");
  CHECK_FALSE(pool.next());
}

TEST_CASE("a wanted address") {
  auto pool = pool_of("172.17.0.0/16", "172.17.0.1");
  CHECK(pool.reserve(*parse_ip4("172.17.5.5")));
  const auto again = pool.reserve(*parse_ip4("172.17.5.5"));
  CHECK(again.error().code() == errc::forbidden);
  CHECK(again.error().message() == "Address already in use");
  CHECK(pool.reserve(*parse_ip4("172.17.0.1")).error().message() == "Address already in use");
  for (const char* outside : {"10.0.0.1", "172.17.0.0", "172.17.255.255"}) {
    const auto refused = pool.reserve(*parse_ip4(outside));
    CHECK(refused.error().code() == errc::invalid_argument);
    CHECK(refused.error().message() ==
          std::string("no configured subnet or ip-range contain the IP address ") + outside);
  }
  CHECK(next(pool) == "172.17.5.6");
}

TEST_CASE("the cursor wraps around") {
  auto pool = pool_of("192.168.0.0/24", "192.168.0.1");
  CHECK(pool.reserve(*parse_ip4("192.168.0.254")));
  CHECK(next(pool) == "192.168.0.2");
}

TEST_CASE("the edges of the address space") {
  auto top = pool_of("255.255.255.252/30", "255.255.255.253");
  CHECK(next(top) == "255.255.255.254");
  CHECK_FALSE(top.next());
  auto pair = pool_of("10.0.0.0/31", "10.0.0.0");
  CHECK(next(pair) == "10.0.0.1");
  CHECK_FALSE(pair.next());
}

TEST_CASE("the first subnet that nobody has") {
  const settings defaults;
  const auto choose = [&](std::vector<const char*> taken) {
    std::vector<net::subnet4> list;
    for (const char* t : taken) list.push_back(*parse_subnet4(t));
    const auto got = choose_subnet(defaults.address_pools, list);
    return got ? net::to_string(*got) : "none";
  };
  CHECK(choose({}) == "172.17.0.0/16");
  CHECK(choose({"172.17.0.1/16"}) == "172.18.0.0/16");
  CHECK(choose({"172.17.3.0/24", "172.18.9.9/32"}) == "172.19.0.0/16");
  CHECK(choose({"172.16.0.0/12"}) == "192.168.0.0/20");
  CHECK(choose({"172.16.0.0/12", "192.168.0.0/17"}) == "192.168.128.0/20");
  CHECK(choose({"172.16.0.0/12", "192.168.0.0/16"}) == "none");
  CHECK_FALSE(choose_subnet({{"nonsense", 24}, {"10.0.0.0/24", 16}}, {}));
  CHECK(choose_subnet({{"255.255.255.0/24", 30}}, {})->first() == *parse_ip4("255.255.255.0"));
}

TEST_CASE("addresses of the default network over restarts") {
  const auto pools = settings{}.address_pools;
  const bridge_addresses stored{*parse_subnet4("172.18.0.0/16"), *parse_ip4("172.18.0.1")};
  const auto subnet = [](const char* text) { return *parse_subnet4(text); };
  CHECK(choose_bridge_addresses({}, false, {}, pools)->subnet == subnet("172.17.0.0/16"));
  CHECK(choose_bridge_addresses({}, false, {}, pools)->gateway == *parse_ip4("172.17.0.1"));
  CHECK(choose_bridge_addresses(stored, false, {}, pools) == stored);
  // The host has got a route there: another subnet, unless a container still has an address.
  const host_view crowded{{subnet("172.18.4.0/24")}, {}};
  CHECK(choose_bridge_addresses(stored, false, crowded, pools)->subnet == subnet("172.17.0.0/16"));
  CHECK(choose_bridge_addresses(stored, true, crowded, pools) == stored);
  // A bridge that somebody has set up is taken as it is.
  const host_view device{{subnet("192.0.2.0/24")}, {subnet("10.7.0.254/24")}};
  CHECK(choose_bridge_addresses({}, false, device, pools) ==
        bridge_addresses{subnet("10.7.0.0/24"), *parse_ip4("10.7.0.254")});
  CHECK_FALSE(choose_bridge_addresses({}, false, {{subnet("0.0.0.0/0")}, {}}, pools));
}
