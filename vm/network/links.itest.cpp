// Real devices and rules, in a network namespace of the test's own.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "persistence/base/fs.hpp"
#include "vm/network/firewall.hpp"
#include "vm/network/testing/netns.hpp"

using namespace arca;
using namespace arca::net;
using namespace arca::net::testing;

int main(int argc, char** argv) {
  if (unshare(CLONE_NEWNET) != 0) {
    std::perror("this test needs root: unshare");
    return 1;
  }
  return Catch::Session().run(argc, argv);
}

namespace {
const bridge_spec bridge{.name = "arcat0", .address = *parse_subnet4("172.17.0.1/16")};
const bridge_rules rules{.bridge = "arcat0", .subnet = bridge.address.network()};

unique_fd machine(const std::string& device, const std::string& address, const std::string& on = "arcat0",
                  const std::string& gateway = "172.17.0.1") {
  auto netns = new_netns();
  const auto made = create_veth(
      {.bridge = on, .host_name = device, .guest_name = "eth0", .mac = to_string(random_mac()), .mtu = 1500},
      netns.get());
  if (!made) FAIL(made.error().message());
  if (auto done = configure(netns, "eth0", address, gateway); !done) FAIL(done.error().message());
  return netns;
}

// A neighbour of the host: 203.0.113.2 behind the host's 203.0.113.1.
unique_fd outside_world() {
  REQUIRE(ensure_bridge({.name = "uplink", .address = *parse_subnet4("203.0.113.1/24"), .mtu = 1500}));
  return machine("vethout", "203.0.113.2/24", "uplink", "203.0.113.1");
}

int shell(const std::string& command) {
  return std::system(command.c_str());
}

double milliseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

struct clean {
  ~clean() {
    (void)apply_firewall({});
    shell("nft delete table ip filter 2>/dev/null");
    for (const char* name : {"arcat0", "arcat1", "uplink"}) {
      for (const auto& veth : list_veths(name).value_or(std::vector<std::string>{})) (void)remove_link(veth);
      (void)remove_link(name);
    }
  }
};
}  // namespace

TEST_CASE("a tap is in its bridge for as long as its descriptor is open") {
  clean after;
  REQUIRE(ensure_bridge(bridge));
  CHECK(create_tap({.bridge = "nobridge", .name = "tap1"}).error().code() == errc::not_found);
  CHECK(create_tap({.bridge = "arcat0", .name = "much-too-long-name"}).error().code() == errc::invalid_argument);
  CHECK(link_index("tap1") == 0);
  {
    const auto tap = create_tap({.bridge = "arcat0", .name = "tap1", .mtu = 1400});
    REQUIRE(tap);
    CHECK(list_veths("arcat0").value() == std::vector<std::string>{"tap1"});
    CHECK(shell("ip link show tap1 | grep -q 'mtu 1400.*master arcat0' && ip link show tap1 | grep -q '[<,]UP[,>]'") ==
          0);
    CHECK_FALSE(create_tap({.bridge = "arcat0", .name = "tap1"}));
    CHECK(link_index("tap1") != 0);
  }
  CHECK(link_index("tap1") == 0);
}

TEST_CASE("the bridge is made once and mended") {
  clean after;
  REQUIRE(ensure_bridge(bridge));
  const auto index = link_index("arcat0");
  CHECK(index != 0);
  CHECK(link_addresses("arcat0")->at(0) == bridge.address);
  CHECK(fs::read_file("/proc/sys/net/ipv4/ip_forward")->at(0) == '1');
  REQUIRE(ensure_bridge(bridge));
  CHECK(link_index("arcat0") == index);
  CHECK(link_addresses("arcat0")->size() == 1);
  shell("ip link set arcat0 down mtu 1400; ip addr flush dev arcat0");
  REQUIRE(ensure_bridge(bridge));
  CHECK(link_addresses("arcat0")->at(0) == bridge.address);
  shell("ip link add pair7 type veth peer name pair8");
  const auto wrong = ensure_bridge({.name = "pair7", .address = bridge.address});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().message() == "network device pair7 exists and is no bridge");
  CHECK(remove_link("pair7"));
  CHECK(remove_link("pair7"));  // missing is fine
}

TEST_CASE("subnets of the host") {
  clean after;
  REQUIRE(ensure_bridge(bridge));
  REQUIRE(ensure_bridge({.name = "uplink", .address = *parse_subnet4("203.0.113.1/24"), .mtu = 1500}));
  shell("ip route add 198.51.100.0/24 via 203.0.113.7; ip route add default via 203.0.113.9");
  const auto all = host_subnets("arcat0");
  REQUIRE(all);
  const auto knows = [&](const char* text) {
    return std::any_of(all->begin(), all->end(), [&](const subnet4& s) { return s.network() == *parse_subnet4(text); });
  };
  CHECK(knows("203.0.113.0/24"));
  CHECK(knows("198.51.100.0/24"));
  CHECK_FALSE(knows("172.17.0.0/16"));
  CHECK_FALSE(knows("0.0.0.0/0"));
}

TEST_CASE("machines reach the gateway, each other and, by NAT, the world; nothing new comes in") {
  clean after;
  REQUIRE(ensure_bridge(bridge));
  const auto begin = std::chrono::steady_clock::now();
  const auto applied = apply_firewall({rules});
  if (!applied) FAIL(applied.error().message());
  WARN("apply_firewall: " << milliseconds(begin) << " ms");
  CHECK(fs::read_file("/proc/self/maps")->find("nftables") == std::string::npos);  // not kept in memory
  const auto host = current_netns();
  const auto a = machine("vetha", "172.17.0.2/16"), b = machine("vethb", "172.17.0.3/16");
  const auto world = outside_world();
  const auto on_host = listen_in(host, 7001), on_b = listen_in(b, 7002), on_world = listen_in(world, 7003);
  CHECK(connects(a, "172.17.0.1", 7001, 3000));
  CHECK(accepted_from(on_host) == "172.17.0.2");
  CHECK(connects(a, "172.17.0.3", 7002, 3000));
  CHECK(accepted_from(on_b) == "172.17.0.2");
  CHECK(connects(host, "172.17.0.3", 7002, 3000));
  CHECK(accepted_from(on_b) == "172.17.0.1");
  CHECK(connects(a, "203.0.113.2", 7003, 3000));
  CHECK(accepted_from(on_world) == "203.0.113.1");
  CHECK_FALSE(connects(world, "172.17.0.3", 7002, 400));  // routed to the host, but not let through
}

TEST_CASE("networks are isolated from each other, internal ones from the world") {
  clean after;
  REQUIRE(ensure_bridge(bridge));
  REQUIRE(ensure_bridge({.name = "arcat1", .address = *parse_subnet4("172.18.0.1/16"), .mtu = 1500}));
  bridge_rules second{.bridge = "arcat1", .subnet = *parse_subnet4("172.18.0.0/16")};
  REQUIRE(apply_firewall({rules, second}));
  const auto a = machine("vetha", "172.17.0.2/16");
  const auto b = machine("vethb", "172.18.0.2/16", "arcat1", "172.18.0.1");
  const auto world = outside_world();
  const auto on_b = listen_in(b, 7002), on_world = listen_in(world, 7003);
  CHECK_FALSE(connects(a, "172.18.0.2", 7002, 400));
  CHECK(connects(b, "203.0.113.2", 7003, 3000));
  second.internal = true;
  REQUIRE(apply_firewall({rules, second}));
  CHECK_FALSE(connects(b, "203.0.113.2", 7003, 400));
  CHECK(connects(a, "203.0.113.2", 7003, 3000));
}

TEST_CASE("a FORWARD chain with policy drop lets our bridges through, its rules still decide") {
  clean after;
  REQUIRE(ensure_bridge(bridge));
  REQUIRE(shell("nft add table ip filter && nft add chain ip filter FORWARD "
                "'{ type filter hook forward priority 0; policy drop; }'") == 0);
  const auto a = machine("vetha", "172.17.0.2/16"), b = machine("vethb", "172.17.0.3/16");
  const auto world = outside_world();
  const auto on_world = listen_in(world, 7003), on_b = listen_in(b, 7002);
  REQUIRE(apply_firewall({rules}));
  REQUIRE(apply_firewall({rules}));
  CHECK(shell("test $(nft list chain ip filter FORWARD | grep -c 'comment \"arca\"') = 2") == 0);
  CHECK(connects(a, "203.0.113.2", 7003, 3000));
  CHECK_FALSE(connects(world, "172.17.0.3", 7002, 400));
  REQUIRE(shell("nft insert rule ip filter FORWARD tcp dport 7003 drop") == 0);
  CHECK_FALSE(connects(a, "203.0.113.2", 7003, 400));
  REQUIRE(apply_firewall({}));
  CHECK(shell("nft list chain ip filter FORWARD | grep -q 'comment \"arca\"'") != 0);
  CHECK(shell("nft list table inet arca 2>/dev/null | grep -q .") != 0);
}

TEST_CASE("a veth: refusals, cost, and its end with the namespace") {
  clean after;
  auto netns = new_netns();
  veth_spec spec{.bridge = "arcat0", .host_name = "veth0", .guest_name = "eth0", .mac = "02:42:ac:11:00:02"};
  CHECK(create_veth(spec, netns.get()).error().code() == errc::not_found);
  REQUIRE(ensure_bridge(bridge));
  REQUIRE(create_veth(spec, netns.get()));
  CHECK(create_veth(spec, netns.get()).error().code() == errc::conflict);
  spec.host_name = "veth0123456789012";
  CHECK(create_veth(spec, netns.get()).error().code() == errc::invalid_argument);
  spec.host_name = "a/b";
  CHECK(create_veth(spec, netns.get()).error().code() == errc::invalid_argument);
  CHECK(inside(netns, [] { return link_index("eth0"); }) != 0);
  CHECK(link_index("eth0") == 0);
  CHECK(*list_veths("arcat0") == std::vector<std::string>{"veth0"});
  netns.reset();  // the namespace goes, and with it the pair
  for (int i = 0; i < 3000 && link_index("veth0") != 0; ++i) ::poll(nullptr, 0, 10);
  CHECK(link_index("veth0") == 0);

  std::vector<double> times;
  std::vector<unique_fd> keep;
  for (int i = 0; i < 30; ++i) {
    keep.push_back(new_netns());
    const auto begin = std::chrono::steady_clock::now();
    spec.host_name = "vethm" + std::to_string(i);
    spec.mac = to_string(random_mac());
    REQUIRE(create_veth(spec, keep.back().get()));
    times.push_back(milliseconds(begin));
  }
  std::sort(times.begin(), times.end());
  WARN("create_veth: median " << times[15] << " ms, worst " << times.back() << " ms");
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(remove_link("vethm0"));
  WARN("remove_link: " << milliseconds(begin) << " ms");
  CHECK(list_veths("arcat0")->size() == 29);
}
