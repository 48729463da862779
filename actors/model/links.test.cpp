#include "actors/model/links.hpp"

#include <catch2/catch.hpp>

#include "actors/model/networks.hpp"

namespace arca::model {
namespace {

using nlohmann::json;

std::shared_ptr<container_record> child(const std::string& name) {
  auto r = std::make_shared<container_record>();
  r->id = std::string(64, 'c');
  r->name = name;
  r->config = {{"Hostname", "foo"},
               {"Env", {"A=1", "B", "HOME=/x"}},
               {"ExposedPorts",
                {{"91/udp", json::object()},
                 {"81/tcp", json::object()},
                 {"80/tcp", json::object()},
                 {"85/tcp", json::object()}}}};
  r->host_config = json::object();
  r->state.status = container_status::running;
  endpoint_settings e;
  e.network_name = "bridge";
  e.ip4 = "172.17.0.4";
  r->endpoints = {e};
  return r;
}

container_record parent(json links) {
  container_record r;
  r.name = "qq";
  r.host_config = {{"Links", std::move(links)}};
  return r;
}

std::string refusal(const result<resolved_links>& got) {
  return got ? "" : got.error().message();
}

}  // namespace

TEST_CASE("a link gives names and variables") {
  const auto got = resolve_links(parent({"mp:a-b", "mp:a-b"}), [](const std::string& name) { return child(name); });
  REQUIRE(got);
  CHECK(got->hosts == std::vector<std::string>{"172.17.0.4\ta-b foo mp"});
  CHECK(got->environment == std::vector<std::string>{"A_B_PORT=tcp://172.17.0.4:80",
                                                     "A_B_PORT_80_TCP=tcp://172.17.0.4:80",
                                                     "A_B_PORT_80_TCP_ADDR=172.17.0.4",
                                                     "A_B_PORT_80_TCP_PORT=80",
                                                     "A_B_PORT_80_TCP_PROTO=tcp",
                                                     "A_B_PORT_81_TCP=tcp://172.17.0.4:81",
                                                     "A_B_PORT_81_TCP_ADDR=172.17.0.4",
                                                     "A_B_PORT_81_TCP_PORT=81",
                                                     "A_B_PORT_81_TCP_PROTO=tcp",
                                                     "A_B_PORT_80_TCP_START=tcp://172.17.0.4:80",
                                                     "A_B_PORT_80_TCP_PORT_START=80",
                                                     "A_B_PORT_80_TCP_END=tcp://172.17.0.4:81",
                                                     "A_B_PORT_80_TCP_PORT_END=81",
                                                     "A_B_PORT_85_TCP=tcp://172.17.0.4:85",
                                                     "A_B_PORT_85_TCP_ADDR=172.17.0.4",
                                                     "A_B_PORT_85_TCP_PORT=85",
                                                     "A_B_PORT_85_TCP_PROTO=tcp",
                                                     "A_B_PORT_91_UDP=udp://172.17.0.4:91",
                                                     "A_B_PORT_91_UDP_ADDR=172.17.0.4",
                                                     "A_B_PORT_91_UDP_PORT=91",
                                                     "A_B_PORT_91_UDP_PROTO=udp",
                                                     "A_B_NAME=/qq/a-b",
                                                     "A_B_ENV_A=1"});
  const auto bare = resolve_links(parent({"mp"}), [](const std::string& name) { return child(name); });
  REQUIRE(bare);
  CHECK(bare->hosts == std::vector<std::string>{"172.17.0.4\tmp foo"});
}

TEST_CASE("links that cannot be") {
  const auto with = [](auto change) {
    return refusal(resolve_links(parent({"mp:al"}), [&](const std::string& name) {
      auto r = child(name);
      change(*r);
      return r;
    }));
  };
  CHECK(with([](auto& r) { r.state.status = container_status::exited; }) ==
        "Cannot link to a non running container: /mp AS /qq/al");
  CHECK(with([](auto& r) { r.endpoints[0].network_name = "mine"; }) ==
        "container " + std::string(64, 'c') + " not attached to default bridge network");
  CHECK(parse_link("a:b:c").error().message() == "bad format for links: a:b:c");
  const auto shown = parse_link("/mp:/qq/al");
  REQUIRE(shown);
  CHECK((shown->container == "mp" && shown->alias == "al"));
}

TEST_CASE("networks beside each other") {
  const auto at_start = [](const char* mode, json endpoints) {
    const auto got = check_network_company({{"NetworkMode", mode}}, endpoints);
    return got ? std::string() : got.error().message();
  };
  const std::string prefix = "failed to set up container networking: ";
  const auto none =
      prefix + "container cannot be connected to multiple networks with one of the networks in private (none) mode";
  CHECK(at_start("bridge", {{"bridge", json::object()}}).empty());
  CHECK(at_start("container:x", {{"bridge", json::object()}}).empty());
  CHECK(at_start("bridge", {{"bridge", json::object()}, {"none", json::object()}}) == none);
  CHECK(at_start("none", {{"bridge", json::object()}, {"none", json::object()}}) == none);
  CHECK(at_start("none", {{"host", json::object()}}) ==
        prefix + "cannot connect container to host network - container must be created in host network mode");
  CHECK(at_start("host", {{"none", json::object()}}).ends_with("cannot be connected to any other network"));

  container_record r;
  r.host_config = {{"NetworkMode", "bridge"}};
  r.networking = {{"mine", json::object()}};
  CHECK(network_to_join(r) == "mine");
  CHECK(networks_left_out(r).empty());
  r.networking = {{"mine", json::object()}, {"bridge", json::object()}};
  CHECK(network_to_join(r) == "bridge");
  CHECK(networks_left_out(r) == std::vector<std::string>{"mine"});
  r.host_config = {{"NetworkMode", "host"}};
  CHECK(network_to_join(r) == "host");
}

TEST_CASE("the name and the further addresses of an interface") {
  CHECK(interface_name(json::object()) == "eth0");
  CHECK(link_local_addresses({{"IPAMConfig", {{"LinkLocalIPs", {"169.254.1.1", "fe80::5", "10.0.0.1"}}}}}) ==
        std::vector<std::string>{"169.254.1.1/16", "10.0.0.1/8"});
  CHECK(interface_name({{"DriverOpts", {{"com.docker.network.endpoint.ifname", "lan0"}}}}) == "lan0");
}

}  // namespace arca::model
