// The networks with a real store and real devices, in a network namespace of the test's own.
#define CATCH_CONFIG_RUNNER
#include "actors/network/network_manager.hpp"

#include <catch2/catch.hpp>
#include <future>
#include <nlohmann/json.hpp>
#include <set>

#include "actors/network/testing/engine_fixture.hpp"
#include "vm/network/testing/netns.hpp"

using namespace arca;
using namespace arca::testing;
using nlohmann::json;

int main(int argc, char** argv) {
  if (unshare(CLONE_NEWNET) != 0) {
    std::perror("this test needs root: unshare");
    return 1;
  }
  return Catch::Session().run(argc, argv);
}

namespace {
struct networks_engine : small_engine {
  explicit networks_engine(const std::string& dir) : small_engine(dir) {
    ctx.networks = spawn_network_manager(system(), ctx);
  }
  result<endpoint> allocate(const std::string& container, const std::string& network = "bridge",
                            const std::string& ip = "", const std::string& mac = "") {
    allocate_endpoint a;
    a.network = network;
    a.container_id = container;
    a.container_name = "name-" + container;
    a.wanted_ip4 = ip;
    a.wanted_mac = mac;
    return ask<endpoint>(ctx.networks, a);
  }
  result<void> release(const std::string& container) {
    release_endpoints r;
    r.container_id = container;
    return ask<void>(ctx.networks, r);
  }
  result<void> reconcile(std::vector<std::string> running) {
    reconcile_networks r;
    r.running = std::move(running);
    return ask<void>(ctx.networks, r);
  }
  json inspect(const std::string& name) {
    inspect_network i;
    i.name = name;
    const auto d = ask<json_document>(ctx.networks, i);
    return d ? json::parse(d->text, nullptr, false) : json(d.error().message());
  }
  json list(const std::string& filters = "") {
    list_networks l;
    l.filters = filters;
    const auto d = ask<json_document>(ctx.networks, l);
    return d ? json::parse(d->text, nullptr, false) : json(d.error().message());
  }
};

void remove_bridge() {
  for (const auto& veth : net::list_veths("arcat0").value_or(std::vector<std::string>{})) (void)net::remove_link(veth);
  (void)net::remove_link("arcat0");
}
}  // namespace

TEST_CASE("built-in networks: made once, the same ids after a restart, no device before it is needed") {
  temporary_folder dir;
  std::string bridge_id, created;
  {
    networks_engine engine(dir.path);
    const auto all = engine.list();
    REQUIRE(all.size() == 3);
    CHECK(all[0]["Name"] == "bridge");
    CHECK(all[1]["Name"] == "host");
    CHECK(all[2]["Name"] == "none");
    CHECK(all[2]["Driver"] == "null");
    CHECK(all[1]["IPAM"]["Config"].is_null());
    CHECK(all[0]["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16");
    CHECK(all[0]["IPAM"]["Config"][0]["Gateway"] == "172.17.0.1");
    bridge_id = all[0]["Id"].get<std::string>();
    created = all[0]["Created"].get<std::string>();
    CHECK(bridge_id.size() == 64);
    CHECK(engine.inspect(bridge_id)["Name"] == "bridge");
    CHECK(engine.inspect(bridge_id.substr(0, 12))["Name"] == "bridge");
    CHECK(engine.inspect("nosuch") == "network nosuch not found");
    CHECK(engine.list(R"({"foo":["x"]})") == "invalid filter 'foo'");
    CHECK(engine.list(R"({"driver":["host"]})").size() == 1);
    find_network f;
    f.name = "default";
    CHECK(engine.ask<found_network>(engine.ctx.networks, f)->id == bridge_id);
    f.name = "nosuchnet";
    const auto missing = engine.ask<found_network>(engine.ctx.networks, f);
    CHECK(missing.error().code() == errc::not_found);
    CHECK(missing.error().message() == "network nosuchnet not found");
    CHECK(engine.allocate("c", "nosuchnet").error().message() == "network nosuchnet not found");
    inspect_network swarm;
    swarm.name = "bridge";
    swarm.scope = "swarm";
    CHECK(engine.ask<json_document>(engine.ctx.networks, swarm).error().message() == "network bridge not found");
  }
  networks_engine again(dir.path);
  CHECK(again.inspect("bridge")["Id"] == bridge_id);
  CHECK(again.inspect("bridge")["Created"] == created);
  CHECK(net::link_index("arcat0") == 0);
}

TEST_CASE("endpoints: device and rules at the first, addresses next-free, given back") {
  temporary_folder dir;
  networks_engine engine(dir.path);
  const auto a = engine.allocate("a");
  if (!a) FAIL(a.error().message());
  CHECK(net::link_index("arcat0") != 0);
  CHECK(net::link_addresses("arcat0")->at(0) == *net::parse_subnet4("172.17.0.1/16"));
  CHECK(std::system("nft list table inet arca | grep -q masquerade") == 0);
  CHECK(a->network_name == "bridge");
  CHECK(a->driver == "bridge");
  CHECK(a->bridge == "arcat0");
  CHECK(a->ip4 == "172.17.0.2");
  CHECK(a->gateway4 == "172.17.0.1");
  CHECK(a->prefix4 == 16);
  CHECK(a->mtu == 1500);
  CHECK(a->endpoint_id.size() == 64);
  CHECK(a->host_device.size() == 11);
  CHECK(net::parse_mac(a->mac));
  CHECK(engine.allocate("b", "default")->ip4 == "172.17.0.3");
  CHECK(engine.allocate("c", "", "172.17.9.9", "02:42:AC:00:00:01")->mac == "02:42:ac:00:00:01");
  CHECK(engine.allocate("d", "bridge", "172.17.9.9").error().message() == "Address already in use");
  CHECK(engine.allocate("d", "bridge", "10.0.0.1").error().code() == errc::invalid_argument);
  CHECK(engine.allocate("d", "bridge", "", "zz").error().message() == "invalid MAC address zz");
  const auto shown = engine.inspect("bridge")["Containers"];
  CHECK(shown.size() == 3);
  CHECK(shown["a"]["IPv4Address"] == "172.17.0.2/16");
  CHECK(shown["a"]["Name"] == "name-a");
  CHECK(shown["a"]["EndpointID"] == a->endpoint_id);
  CHECK(engine.release("a"));
  CHECK(engine.release("a"));
  CHECK(engine.release("unknown"));
  CHECK(engine.inspect("bridge")["Containers"].size() == 2);
  CHECK(engine.allocate("e")->ip4 == "172.17.9.10");
  // A container that starts again has one endpoint, a new one.
  CHECK(engine.allocate("e")->ip4 == "172.17.9.11");
  CHECK(engine.inspect("bridge")["Containers"].size() == 3);

  const auto h = engine.allocate("h", "host");
  REQUIRE(h);
  CHECK(h->driver == "host");
  CHECK(h->bridge.empty());
  CHECK(h->ip4.empty());
  CHECK(engine.inspect("host")["Containers"]["h"]["IPv4Address"] == "");
  CHECK(engine.allocate("n", "none")->driver == "null");

  // Somebody removes the device: it is made again.
  remove_bridge();
  CHECK(engine.allocate("f")->ip4 == "172.17.9.12");
  CHECK(net::link_index("arcat0") != 0);
  remove_bridge();
}

TEST_CASE("a hundred starts at once get a hundred addresses; cost of one") {
  temporary_folder dir;
  networks_engine engine(dir.path);
  std::set<std::string> addresses, macs, devices;
  std::vector<std::future<result<endpoint>>> starts;
  for (int i = 0; i < 100; ++i) {
    allocate_endpoint a;
    a.network = "bridge";
    a.container_id = "c" + std::to_string(i);
    starts.push_back(
        std::async(std::launch::async, [&engine, a] { return engine.ask<endpoint>(engine.ctx.networks, a); }));
  }
  for (auto& start : starts) {
    const auto e = start.get();
    REQUIRE(e);
    addresses.insert(e->ip4);
    macs.insert(e->mac);
    devices.insert(e->host_device);
  }
  CHECK(addresses.size() == 100);
  CHECK(macs.size() == 100);
  CHECK(devices.size() == 100);
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) REQUIRE(engine.allocate("t" + std::to_string(i)));
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  WARN("allocate, through the store's commit and back to a blocked thread: " << took.count() / 500 << " us");
  for (const auto& row : engine.ctx.actors->snapshot())
    if (row.path.find("/networks") == 0 && row.handled != 0)
      WARN(row.path << ": " << row.busy_ms * 1000 / static_cast<double>(row.handled) << " us a message");
  remove_bridge();
}

TEST_CASE("after a crash: endpoints of running containers stay, the others and their devices go") {
  temporary_folder dir;
  endpoint kept, lost;
  {
    networks_engine engine(dir.path);
    kept = *engine.allocate("alive");
    lost = *engine.allocate("dead");
    REQUIRE(engine.allocate("deadhost", "host"));
  }
  auto one = net::testing::new_netns(), two = net::testing::new_netns(), three = net::testing::new_netns();
  for (const auto& [device, netns] :
       {std::pair{kept.host_device, &one}, {lost.host_device, &two}, {"vethstray", &three}})
    REQUIRE(net::create_veth(
        {.bridge = "arcat0", .host_name = device, .guest_name = "eth0", .mac = kept.mac, .mtu = 1500}, netns->get()));
  REQUIRE(std::system("ip link add vethadmin type veth peer name vethadmin2; ip link set vethadmin master arcat0; "
                      "nft delete table inet arca") == 0);
  networks_engine engine(dir.path);
  CHECK(engine.inspect("bridge")["Containers"].size() == 2);
  const auto fresh = engine.allocate("fresh");  // started before the recovery is through
  REQUIRE(fresh);
  CHECK(fresh->ip4 == "172.17.0.4");
  REQUIRE(engine.reconcile({"alive"}));
  const auto shown = engine.inspect("bridge")["Containers"];
  CHECK(shown.contains("alive"));
  CHECK(shown.contains("fresh"));
  CHECK(shown.size() == 2);
  CHECK(engine.inspect("host")["Containers"].empty());
  CHECK(net::link_index(kept.host_device) != 0);
  CHECK(net::link_index(lost.host_device) == 0);
  CHECK(net::link_index("vethstray") == 0);
  CHECK(net::link_index("vethadmin") != 0);  // not ours
  for (int i = 0; i < 100 && std::system("nft list table inet arca >/dev/null 2>&1") != 0; ++i) ::poll(nullptr, 0, 20);
  CHECK(std::system("nft list table inet arca | grep -q masquerade") == 0);
  CHECK(engine.reconcile({}));
  CHECK(engine.inspect("bridge")["Containers"].size() == 2);  // only what an earlier daemon left is ever dropped
  (void)net::remove_link("vethadmin");
  remove_bridge();
}

TEST_CASE("the default subnet makes way for the host's routes") {
  temporary_folder dir;
  REQUIRE(net::ensure_bridge({.name = "lan", .address = *net::parse_subnet4("172.17.40.1/24"), .mtu = 1500}));
  {
    networks_engine engine(dir.path);
    CHECK(engine.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16");
  }
  REQUIRE(net::remove_link("lan"));
  networks_engine engine(dir.path);
  CHECK(engine.inspect("bridge")["IPAM"]["Config"][0]["Subnet"] == "172.18.0.0/16");  // stable from now on
}

TEST_CASE("nothing remains in the namespace but what the tests allow") {
  CHECK(net::link_index("arcat0") == 0);
  CHECK(std::system("test $(ip -o link | grep -vc ' lo:\\|ifb\\|tunl\\|sit\\|gre\\|ip6\\|erspan\\|ip_vti') = 0") == 0);
}
